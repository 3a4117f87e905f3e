/** What a failure of the disk is to whoever pushes; other errors are tested where they come from. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answerError, isUnexpected } from '../../src/http/errors.ts'
import { StorageError } from '../../src/storage/error.ts'

for (const [code, status, says] of [
  ['FULL', 507, /disk of the mirror is full: free some space/],
  ['BUSY', 503, /try again/],
  ['READ_ONLY', 500, /its log has the details/],
  ['BROKEN', 500, /its log has the details/],
  ['CORRUPT', 500, /its log has the details/],
] as const) {
  test(`a disk that is ${code}: ${status}, without a word of where the data lies`, () => {
    const error = new StorageError(code, "EIO: i/o error, write '/secret/data/partial/1'")
    const answer = answerError(error, 'upload')
    assert.deepEqual([answer.status, answer.code], [status, 'UNAVAILABLE'])
    assert.match(answer.message, says)
    assert.ok(!answer.body.includes('secret'))
    assert.equal(isUnexpected(error), true, 'it is loud in the log')
  })
}
