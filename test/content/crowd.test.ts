import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Crowd } from '../../src/content/crowd.ts'

test('a crowd has each client once, and tells when the last one has left, each time', () => {
  let emptied = 0
  const crowd = new Crowd(() => {
    emptied += 1
  })
  for (const times of [1, 2]) {
    const leave = ['a', 'a', 'b'].map((client) => crowd.enter(client))
    assert.deepEqual([[...crowd], crowd.isEmpty], [['a', 'b'], false])
    leave[0]?.()
    leave[2]?.()
    assert.deepEqual([[...crowd], emptied], [['a'], times - 1])
    leave[1]?.()
    assert.deepEqual([crowd.isEmpty, emptied], [true, times])
  }
})
