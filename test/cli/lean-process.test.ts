import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runInNewContext } from 'node:vm'
import { beginLean } from '../../src/cli/lean-process.ts'
import { startMirror } from '../support/mirror.ts'

/** Whoever collects garbage asks V8 for the function first, for the whole process. */
const hasCollected = (): boolean => runInNewContext('typeof gc') === 'function'

test('the thread that writes the catalog collects what its start has left in the program, and only there', async () => {
  {
    await using _ = await startMirror()
  }
  assert.equal(hasCollected(), false)
  beginLean([])
  {
    await using _ = await startMirror()
  }
  assert.equal(hasCollected(), true)
})
