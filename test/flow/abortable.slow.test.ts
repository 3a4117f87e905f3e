import assert from 'node:assert/strict'
import { test } from 'node:test'
import { abortable, delay } from '../../src/flow/abortable.ts'
import { run } from '../support/child-process.ts'

test('without a signal the outcome of the promise is passed on', async () => {
  assert.equal(await abortable(Promise.resolve(1)), 1)
  await assert.rejects(abortable(Promise.reject(new Error('no'))), { message: 'no' })
})

test('with a signal that never aborts the outcome is passed on, and nothing stays attached', async (t) => {
  const { signal } = new AbortController()
  const added = t.mock.method(signal, 'addEventListener')
  const removed = t.mock.method(signal, 'removeEventListener')
  assert.equal(await abortable(Promise.resolve(1), signal), 1)
  await assert.rejects(abortable(Promise.reject(new Error('no')), signal), { message: 'no' })
  assert.equal(added.mock.callCount(), 2)
  assert.deepEqual(
    removed.mock.calls.map((call) => call.arguments[1]),
    added.mock.calls.map((call) => call.arguments[1]),
  )
})

test('an abort rejects with the reason of the signal, and the work goes on', async () => {
  const work = Promise.withResolvers<number>()
  const controller = new AbortController()
  const waiting = abortable(work.promise, controller.signal)
  const reason = new Error('left')
  controller.abort(reason)
  await assert.rejects(waiting, (error) => error === reason)
  work.resolve(7)
  assert.equal(await work.promise, 7)
})

test('a signal that has aborted already rejects at once', async () => {
  const reason = new Error('left before')
  await assert.rejects(abortable(new Promise(() => {}), AbortSignal.abort(reason)), (e) => e === reason)
})

for (const when of ['before', 'after'] as const) {
  test(`work that fails once its only waiter left does not end the process (aborted ${when})`, async (t) => {
    const unhandled = t.mock.fn()
    process.on('unhandledRejection', unhandled)
    t.after(() => process.off('unhandledRejection', unhandled))
    const work = Promise.withResolvers<void>()
    const controller = new AbortController()
    if (when === 'before') controller.abort()
    const waiting = abortable(work.promise, controller.signal)
    controller.abort()
    await assert.rejects(waiting, { name: 'AbortError' })
    work.reject(new Error('nobody is there to hear it'))
    await new Promise(setImmediate)
    assert.equal(unhandled.mock.callCount(), 0)
  })
}

test('delay waits its time, no less', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const done = t.mock.fn()
  const waiting = delay(500).then(done)
  t.mock.timers.tick(499)
  await new Promise(setImmediate)
  assert.equal(done.mock.callCount(), 0)
  t.mock.timers.tick(1)
  await waiting
  assert.equal(done.mock.callCount(), 1)
})

test('delay rejects with the reason of the signal and clears its timer', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const cleared = t.mock.method(globalThis, 'clearTimeout')
  const controller = new AbortController()
  const waiting = delay(500, controller.signal)
  const reason = new Error('stop')
  controller.abort(reason)
  await assert.rejects(waiting, (error) => error === reason)
  assert.equal(cleared.mock.callCount(), 1)
  await assert.rejects(delay(500, AbortSignal.abort(reason)), (error) => error === reason)
})

test('delay keeps no process alive', async () => {
  const source = new URL('../../src/flow/abortable.ts', import.meta.url)
  const script = `import { delay } from ${JSON.stringify(source.href)}; void delay(3_600_000)`
  await run('node', ['--input-type=module', '--eval', script])
})
