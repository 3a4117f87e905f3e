import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Pauses } from './pauses.ts'

test('a process that sleeps has paused for about as long, since it did', () => {
  using pauses = new Pauses()
  const from = performance.now()
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200)
  const slept = performance.now()
  assert.ok(pauses.longestSince(from) >= 150)
  assert.ok(pauses.longestSince(slept) < 150)
})

test('of several the longest one is told, and all of them together', () => {
  using pauses = new Pauses()
  const from = performance.now()
  for (const ms of [300, 200]) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
    // It is seen as one of its own.
    pauses.longestSince(from)
  }
  assert.ok(pauses.longestSince(from) >= 250)
  assert.ok(pauses.totalSince(from) >= pauses.longestSince(from) + 150)
  assert.ok(pauses.totalSince(performance.now()) < 150)
})
