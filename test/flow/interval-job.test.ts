import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { IntervalJob } from '../../src/flow/interval-job.ts'

/** Lets everything that waits for promises alone go on. */
const settled = () => new Promise(setImmediate)

function failOnError(error: unknown): never {
  throw error
}

function startJob(
  t: TestContext,
  work: (signal: AbortSignal) => Promise<void>,
  onError: (error: unknown) => void = failOnError,
) {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const run = t.mock.fn(work)
  const job = new IntervalJob(run, { intervalMs: 1000, onError })
  job.start()
  return { job, run }
}

test('the first run is at once, each next one an interval after the end of the last', async (t) => {
  let work = Promise.withResolvers<void>()
  const { job, run } = startJob(t, () => work.promise)
  assert.equal(run.mock.callCount(), 1)
  t.mock.timers.tick(5000)
  await settled()
  assert.equal(run.mock.callCount(), 1, 'it must not overlap itself')
  work.resolve()
  await settled()
  work = Promise.withResolvers()
  t.mock.timers.tick(999)
  assert.equal(run.mock.callCount(), 1)
  t.mock.timers.tick(1)
  assert.equal(run.mock.callCount(), 2)
  work.resolve()
  await job[Symbol.asyncDispose]()
})

test('an error is told and does not end the job', async (t) => {
  const errors: unknown[] = []
  const failure = new Error('no')
  const { job, run } = startJob(t, () => Promise.reject(failure), ((error: unknown) =>
    errors.push(error)) as typeof failOnError)
  await settled()
  assert.deepEqual(errors, [failure])
  t.mock.timers.tick(1000)
  await settled()
  assert.equal(run.mock.callCount(), 2)
  assert.deepEqual(errors, [failure, failure])
  await job[Symbol.asyncDispose]()
})

test('disposal aborts a run, waits for its end, and nothing runs afterwards', async (t) => {
  const ended = Promise.withResolvers<void>()
  const { job, run } = startJob(t, async (signal) => {
    await ended.promise
    signal.throwIfAborted()
  })
  const disposed = t.mock.fn()
  const disposing = job[Symbol.asyncDispose]().then(disposed)
  assert.equal(run.mock.calls[0]?.arguments[0]?.aborted, true)
  await settled()
  assert.equal(disposed.mock.callCount(), 0)
  ended.resolve()
  await disposing
  t.mock.timers.tick(10_000)
  await settled()
  assert.equal(run.mock.callCount(), 1)
})

test('disposal between two runs clears the timer', async (t) => {
  const { job, run } = startJob(t, async () => {})
  await settled()
  await job[Symbol.asyncDispose]()
  t.mock.timers.tick(10_000)
  await settled()
  assert.equal(run.mock.callCount(), 1)
})

test('a job that was never started can be disposed', async () => {
  const job = new IntervalJob(async () => {}, { intervalMs: 1, onError: failOnError })
  await job[Symbol.asyncDispose]()
})
