import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryWindow } from '../../src/content/memory-window.ts'

test('bytes that were read are gone: whoever reads backwards gets an error, never other bytes or the end', async () => {
  const window = new MemoryWindow(10, 'sha256')
  await window.write(0, Buffer.from('01234'))
  await window.write(5, Buffer.from('56789'))
  const reader = window.reader()
  const buffer = Buffer.alloc(3)
  assert.equal(await reader.read(buffer, 6), 3)
  assert.equal(buffer.toString(), '678')
  await assert.rejects(reader.read(buffer, 2), RangeError)
  assert.equal(await reader.read(buffer, 10), 0)
  await reader[Symbol.asyncDispose]()
})
