/**
 * The job that asks the disk. Thought of: that it is well, and no longer, and again; each kind of trouble by its name; a
 * disk that hangs, and answers late, well or not; that a question never waits for another one; short descriptors, which
 * are no trouble of the disk; the end while it hangs.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { pino } from 'pino'
import { DiskProbe } from '../../src/content/disk-probe.ts'
import { WatchedDisk } from '../../src/content/disk-state.ts'
import { StorageError, type StorageErrorCode } from '../../src/storage/error.ts'

const settled = () => new Promise(setImmediate)

function scene(t: TestContext, probe: () => Promise<void>) {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const lines: { level: number; msg: string }[] = []
  const logger = pino({}, { write: (line) => lines.push(JSON.parse(line)) })
  const asked = t.mock.fn(probe)
  // It never asks by itself here.
  const watched = new WatchedDisk({ probe: asked, probeMs: 2 ** 30, logger })
  const job = new DiskProbe({ probe: asked, disk: watched, intervalMs: 1000, hangsAfterMs: 300 })
  t.after(() => watched[Symbol.dispose]())
  const pass = async (ms: number) => {
    await settled()
    t.mock.timers.tick(ms)
    await settled()
  }
  return { job, watched, lines, asked, pass }
}

const states = { FULL: 'full', READ_ONLY: 'read_only', BROKEN: 'broken', BUSY: 'well' } as const

for (const [code, state] of Object.entries(states)) {
  test(`a probe that fails with ${code}: the disk is ${state}; one that does not: it is well`, async (t) => {
    let trouble: StorageError | undefined
    const { job, watched, asked, pass } = scene(t, async () => {
      if (trouble) throw trouble
    })
    await using _ = job
    job.start()
    await settled()
    assert.deepEqual([job.state, asked.mock.callCount()], ['well', 1])
    trouble = new StorageError(code as StorageErrorCode, 'no')
    await pass(1000)
    assert.deepEqual([job.state, watched.isWell], [state, state === 'well'])
    trouble = undefined
    await pass(1000)
    assert.deepEqual([job.state, watched.isWell], ['well', true])
  })
}

test('what a write failed with shows before the next probe', async (t) => {
  const { job, watched } = scene(t, async () => {})
  watched.failed(new StorageError('FULL', 'no space'))
  assert.equal(job.state, 'full')
})

for (const end of ['well', 'broken'] as const) {
  test(`a disk that hangs is told so in time, and what it is when it answers: ${end}`, async (t) => {
    const answer = Promise.withResolvers<void>()
    const { job, watched, lines, pass } = scene(t, () => answer.promise)
    await using _ = job
    job.start()
    await pass(299)
    assert.equal(job.state, 'well', 'a slow card is no dead one')
    await pass(1)
    assert.deepEqual([job.state, watched.isWell], ['hanging', false])
    assert.match(lines[0]?.msg ?? '', /takes no bytes/)
    await pass(1300)
    assert.equal(job.state, 'hanging')
    if (end === 'well') answer.resolve()
    else answer.reject(new StorageError('BROKEN', 'stale file handle'))
    await settled()
    assert.equal(job.state, end)
  })
}

test('it can be stopped while the disk hangs', async (t) => {
  const { job, pass } = scene(t, () => new Promise(() => {}))
  job.start()
  const stopping = job[Symbol.asyncDispose]()
  await pass(300)
  await stopping
})
