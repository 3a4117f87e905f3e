import assert from 'node:assert/strict'
import { on, once } from 'node:events'
import { mkdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { sealedFile } from '../../src/storage/files/sealed-file.ts'
import type { ByteInterval } from '../../src/storage/ranges.ts'
import { forkNode } from '../support/child-process.ts'
import { reasonToSkip } from '../support/programs.ts'
import { checkFill, checkSealed, checkTagged } from './crash-checks.ts'
import type { CrashWork } from './crash-child.ts'
import { filesBelow } from './files/storage-folder.ts'
import { type PowerCutDisk, powerCutDisk, powerCutPrograms } from './power-cut-disk.ts'

const skip = reasonToSkip({ programs: powerCutPrograms, root: true })

/**
 * Lets a process work on the disk step by step and calls `afterStep` after each, with all the steps it told of;
 * it waits there meanwhile. Ends after `steps` of them.
 */
async function workOnDisk<Step>(
  options: { work: CrashWork; folder: string; steps: number },
  afterStep: (told: readonly Step[]) => Promise<void>,
) {
  const { work, folder, steps } = options
  await mkdir(folder)
  const child = forkNode(new URL('./crash-child.ts', import.meta.url), [work, folder, 'step'])
  const exited = once(child, 'exit')
  const told: Step[] = []
  try {
    for await (const [step] of on(child, 'message', { close: ['exit'] })) {
      told.push(step)
      await afterStep(told)
      if (told.length === steps) break
      child.send('next')
    }
    assert.equal(told.length, steps)
  } finally {
    // The disk can be unmounted only when nobody has a file open on it.
    child.kill('SIGKILL')
    await exited
  }
}

/** Cuts the power of the disk right after each step, when nothing that came later can have synced it. */
async function cutAfterEachStep(
  { disk, work, steps }: { disk: PowerCutDisk; work: CrashWork; steps: number },
  check: (folder: string, told: readonly number[]) => Promise<void>,
) {
  await workOnDisk<number>({ work, steps, folder: join(disk.folder, work) }, (told) =>
    disk.cut((folder) => check(join(folder, work), told)),
  )
}

test('power cut after a seal had resolved: the blob is there', { skip }, async (t) => {
  const disk = await powerCutDisk(t)
  await cutAfterEachStep({ disk, work: 'seal', steps: 8 }, async (folder, told) => {
    // What is recorded of a file still fits it afterwards, or all that came lately would be hashed again.
    for (const path of await filesBelow(join(folder, 'blobs'))) {
      const [cut, live] = await Promise.all(
        [folder, join(disk.folder, 'seal')].map((each) => stat(join(each, 'blobs', path), { bigint: true })),
      )
      assert.ok(cut && live)
      assert.deepEqual(sealedFile(cut), sealedFile(live), path)
    }
    await checkSealed(folder, told)
  })
})

test('power cut after a write of the catalog had resolved: it is there', { skip }, async (t) => {
  const disk = await powerCutDisk(t)
  await cutAfterEachStep({ disk, work: 'tag', steps: 8 }, checkTagged)
})

for (const boot of ['another boot', undefined]) {
  test(`power cut in the middle of a fill (${boot}): what was synced is there, and it is sealed`, {
    skip,
  }, async (t) => {
    const disk = await powerCutDisk(t)
    const options = { work: 'syncedFill', steps: 240, folder: join(disk.folder, 'fill') } as const
    await workOnDisk<ByteInterval & { synced: number }>(options, async (written) => {
      if (written.length % 60 !== 15) return
      await disk.cut(async (folder) => {
        const lost = await checkFill(join(folder, 'fill'), written, { boot })
        const total = written.reduce((sum, { start, end }) => sum + end - start, 0)
        const { synced = 0 } = written.at(-1) ?? {}
        assert.ok(synced > 0 && total - lost >= synced, `${total - lost} of ${synced} bytes`)
      })
    })
  })
}
