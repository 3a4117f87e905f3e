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
