import assert from 'node:assert/strict'
import { statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname } from 'node:path'
import { test } from 'node:test'
import { memoryFolder } from './memory-folder.ts'

test('no folder is in memory that has no room, nor on a disk, nor where there is none', () => {
  assert.equal(memoryFolder('/dev/shm', 2 ** 30), undefined)
  assert.equal(memoryFolder('/nowhere', 2 ** 40), undefined)
  // Of no disk at all, and never with room.
  assert.equal(memoryFolder('/proc', 2 ** 40), undefined)
})

test('one that is made lies in memory', (t) => {
  const folder = memoryFolder('/dev/shm')
  if (folder === undefined) return t.skip('this machine has no room in memory')
  assert.equal(dirname(folder), '/dev/shm')
  assert.equal(statfsSync(folder).type, 0x01021994)
  assert.notEqual(folder, tmpdir())
})
