import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { run } from '../../support/child-process.ts'

/** A new folder. Dispose to remove it, and all that was mounted below it. */
export type ScratchFolder = AsyncDisposable & { readonly path: string }

/** Makes a folder for a test, with a short path: sockets in it may have no more than 107 characters. */
export async function scratchFolder(): Promise<ScratchFolder> {
  const path = await mkdtemp(join(tmpdir(), 'larder-e2e-'))
  return {
    path,
    async [Symbol.asyncDispose]() {
      // Container engines that were killed leave mounts behind; inner ones come later in the list.
      for (const mount of (await mountsBelow(path)).reverse()) await run('umount', [mount])
      await rm(path, { recursive: true, force: true, maxRetries: 3 })
    },
  }
}

async function mountsBelow(folder: string): Promise<string[]> {
  const lines = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n')
  const mounts = lines.map((line) => line.split(' ')[4] ?? '')
  return mounts.filter((mount) => mount.startsWith(`${folder}/`))
}
