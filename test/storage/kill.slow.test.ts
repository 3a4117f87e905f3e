import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import type { ByteInterval } from '../../src/storage/ranges.ts'
import { forkNode } from '../support/child-process.ts'
import { checkFill, checkPushed, checkSealed, checkTagged } from './crash-checks.ts'
import type { CrashWork } from './crash-child.ts'
import { storageFolder } from './files/storage-folder.ts'

/** Bytes that the journal of a partial is behind, at most. */
const journalled = 256 * 1024

/** Lets a process work in a folder and kills it after its n-th step; returns all the steps it told of. */
async function killAfter<Step>(t: TestContext, work: CrashWork, folder: string, steps: number) {
  const child = forkNode(new URL('./crash-child.ts', import.meta.url), [work, folder, 'run'])
  t.after(() => child.kill('SIGKILL'))
  const told: Step[] = []
  child.on('message', (step) => {
    told.push(step as Step)
    if (told.length === steps) child.kill('SIGKILL')
  })
  const [[, signal]] = await Promise.all([once(child, 'exit'), once(child, 'disconnect')])
  assert.equal(signal, 'SIGKILL')
  assert.ok(told.length >= steps)
  return told
}

/** Whole numbers from `low` to below `high`, others in each run; a failing one is in the test's name. */
function someNumbers(count: number, low: number, high: number): number[] {
  return Array.from({ length: count }, () => low + Math.floor(Math.random() * (high - low)))
}

for (const steps of [1, ...someNumbers(5, 2, 280)]) {
  test(`a fill killed after ${steps} writes loses at most 256 KiB, and is sealed`, async (t) => {
    const folder = await storageFolder(t)
    const written = await killAfter<ByteInterval>(t, 'fill', folder, steps)
    const lost = await checkFill(folder, written)
    assert.ok(lost <= journalled, `${lost} bytes lost`)
  })
}

test('a fill killed again and again goes forward each time', async (t) => {
  const folder = await storageFolder(t)
  const written: ByteInterval[] = []
  for (const steps of [40, 90, 160]) {
    written.push(...(await killAfter<ByteInterval>(t, 'fill', folder, steps)))
  }
  assert.ok((await checkFill(folder, written)) <= journalled)
})

test('a fill killed on a system that has no name for its boot goes on from what was synced', async (t) => {
  const folder = await storageFolder(t)
  const written = await killAfter<ByteInterval & { synced: number }>(t, 'syncedFill', folder, 95)
  const total = written.reduce((sum, { start, end }) => sum + end - start, 0)
  const kept = total - (await checkFill(folder, written, { boot: undefined }))
  const { synced = 0 } = written.at(-1) ?? {}
  assert.ok(synced > 0 && kept >= synced, `${kept} of ${synced} bytes`)
})

for (const steps of someNumbers(4, 1, 60)) {
  test(`killed after ${steps} seals: all of them are there, nothing wrong is`, async (t) => {
    const folder = await storageFolder(t)
    await checkSealed(folder, await killAfter<number>(t, 'seal', folder, steps))
  })

  test(`killed after ${steps} writes of the catalog: all of them are there`, async (t) => {
    const folder = await storageFolder(t)
    await checkTagged(folder, await killAfter<number>(t, 'tag', folder, steps))
  })
}

for (const steps of [1, ...someNumbers(4, 2, 200)]) {
  test(`killed after ${steps} pushes, and the catalog removed: all of them are there`, async (t) => {
    const folder = await storageFolder(t)
    await checkPushed(folder, await killAfter<number>(t, 'push', folder, steps))
  })
}
