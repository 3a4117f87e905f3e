/**
 * What signals do. Thought of: one that npm hands on once more, of the same name or another; a person's second one, of
 * the same name or another; a terminal that is closed, before and after a stop began; those who rotate logs.
 */
import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { test } from 'node:test'
import { stopOnSignals } from '../../src/cli/signals.ts'

/** Stands for the process. `repeatMs`: for ever, or no time at all. */
function start({ hasTerminal = false, repeatMs = Number.POSITIVE_INFINITY } = {}) {
  const exits: number[] = []
  const source = Object.assign(new EventEmitter(), { exit: (code: number) => exits.push(code) })
  const stop = stopOnSignals({ source, hasTerminal, repeatMs })
  return { send: (...names: string[]) => names.forEach((name) => void source.emit(name)), stop, exits }
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(`${signal} stops, and the same one again within a second is no second one`, () => {
    const { send, stop, exits } = start()
    send(signal)
    assert.equal(stop.aborted, true)
    send(signal, 'SIGINT', 'SIGTERM')
    assert.deepEqual(exits, [])
  })
}

test('a second signal after that ends it at once, with the code of the second one', () => {
  for (const [first, second, code] of [
    ['SIGINT', 'SIGINT', 130],
    ['SIGINT', 'SIGTERM', 143],
    ['SIGTERM', 'SIGINT', 130],
  ] as const) {
    const { send, exits } = start({ repeatMs: 0 })
    send(first)
    assert.deepEqual(exits, [])
    send(second)
    assert.deepEqual(exits, [code])
  }
})

test('a terminal that is closed stops it, however often it says so, and a signal after that counts', () => {
  const { send, stop, exits } = start({ hasTerminal: true, repeatMs: 0 })
  send('SIGHUP', 'SIGHUP')
  assert.equal(stop.aborted, true)
  assert.deepEqual(exits, [])
  send('SIGTERM')
  assert.deepEqual(exits, [143])
})

test('whoever rotates logs stops nothing', () => {
  const { send, stop, exits } = start({ repeatMs: 0 })
  send('SIGHUP', 'SIGUSR1')
  assert.equal(stop.aborted, false)
  send('SIGTERM')
  assert.deepEqual([stop.aborted, exits], [true, []])
})
