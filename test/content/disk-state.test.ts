// Neighbours that were thought of: what is no failure of the disk; a probe that hangs, that fails, that succeeds after a
// new failure; many failures at once; the end while it is asked.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { pino } from 'pino'
import { WatchedDisk } from '../../src/content/disk-state.ts'
import { StorageError } from '../../src/storage/error.ts'

const full = new StorageError('FULL', 'no space left')
const settled = () => new Promise(setImmediate)

function scene(t: TestContext, probe: () => Promise<void>) {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const lines: { level: number; times?: number; ms?: number; msg: string }[] = []
  const logger = pino({}, { write: (line) => lines.push(JSON.parse(line)) })
  const asked = t.mock.fn(probe)
  const disk = new WatchedDisk({ probe: asked, probeMs: 1000, tellMs: 60_000, logger })
  t.after(() => disk[Symbol.dispose]())
  const pass = async (ms: number) => {
    now += ms
    t.mock.timers.tick(ms)
    await settled()
  }
  return { disk, lines, asked, pass }
}

test('it is well until a write fails, and again when a probe succeeds; each is told once', async (t) => {
  let isFull = true
  const { disk, lines, asked, pass } = scene(t, async () => {
    if (isFull) throw full
  })
  assert.equal(disk.isWell, true)
  await pass(10_000)
  assert.equal(asked.mock.callCount(), 0, 'nobody asks a disk that is well')
  disk.failed(full)
  assert.deepEqual([disk.isWell, disk.trouble], [false, full])
  await pass(1000)
  await pass(1000)
  assert.deepEqual([disk.isWell, asked.mock.callCount()], [false, 2])
  isFull = false
  await pass(1000)
  assert.deepEqual([disk.isWell, disk.trouble], [true, undefined])
  await pass(10_000)
  assert.equal(asked.mock.callCount(), 3)
  assert.deepEqual(
    lines.map(({ level, times, ms }) => [level, times ?? ms]),
    [
      [50, 1],
      [30, 3000],
    ],
  )
})

test('a thousand failures are one line a minute, which tells how many there were', async (t) => {
  const { disk, lines, pass } = scene(t, () => Promise.reject(full))
  for (let n = 0; n < 1000; n += 1) disk.failed(full)
  await pass(59_999)
  disk.failed(full)
  assert.equal(lines.length, 1)
  await pass(1)
  disk.failed(full)
  assert.deepEqual(
    lines.map(({ times }) => times),
    [1, 1001],
  )
})

test('what the disk is not to blame for changes nothing', (t) => {
  const { disk } = scene(t, async () => {})
  for (const error of [
    new StorageError('BUSY', 'descriptors are short'),
    new StorageError('CORRUPT', 'one blob is damaged'),
    new Error('the client has left'),
    undefined,
  ]) {
    disk.failed(error)
    assert.equal(disk.isWell, true)
  }
})

test('a probe that hangs is not asked twice, and nothing else waits for it', async (t) => {
  const { disk, asked, pass } = scene(t, () => new Promise(() => {}))
  disk.failed(full)
  for (let n = 0; n < 10; n += 1) {
    await pass(1000)
    disk.failed(full)
  }
  assert.deepEqual([asked.mock.callCount(), disk.isWell], [1, false])
  disk.recovered()
  assert.equal(disk.isWell, true)
  disk.failed(full)
  await pass(10_000)
  assert.equal(asked.mock.callCount(), 1)
})

test('nobody asks after the end', async (t) => {
  const { disk, asked, pass } = scene(t, async () => {})
  disk.failed(full)
  disk[Symbol.dispose]()
  disk.failed(full)
  await pass(10_000)
  assert.equal(asked.mock.callCount(), 0)
})
