import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { run } from '../../support/child-process.ts'

/** What `smallDisk` needs of the machine. */
export const smallDiskNeeds = { programs: ['mount', 'umount'], root: true } as const

/** A file system in memory with mount options such as size=3m, unmounted after the test. */
export async function smallDisk(t: TestContext, options: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'larder-disk-'))
  await run('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder])
  t.after(async () => {
    await run('umount', ['--lazy', folder])
    await rm(folder, { recursive: true })
  })
  return folder
}
