/** What a failure of the disk is to whoever pushes, and what errors say; others are tested where they come from. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answerError, isUnexpected } from '../../src/http/errors.ts'
import { StorageError } from '../../src/storage/error.ts'
import { UpstreamError, type UpstreamErrorCode } from '../../src/upstream/error.ts'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { pseudoRandomBytes } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'

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

test('a failure of an upstream names what was asked for, and says what to do where it is not there', () => {
  const subject = { kind: 'manifest', upstream: 'docker.io', repository: 'library/app' } as const
  const told = (code: UpstreamErrorCode, reference: string | undefined) =>
    answerError(new UpstreamError(code, 'docker.io', 'it failed'), 'manifest', { ...subject, reference })
      .message
  assert.equal(
    told('NOT_FOUND', '1.99'),
    'docker.io: it failed (library/app:1.99): look whether its name is right, and the tag or digest',
  )
  assert.match(told('UNREACHABLE', 'sha256:0123'), /^docker\.io: it failed \(library\/app@sha256:0123\)$/)
  assert.match(told('TIMED_OUT', undefined), /\(library\/app\)$/)
})

test('what a client is told has the name of the image, and what to ask for instead', async () => {
  await using hub = await startDockerHub()
  const { digest } = hub.addBlob('library/app', pseudoRandomBytes(451, 'short'))
  await using mirror = await startMirror({ upstream: hub.url })
  const told = async (path: string, headers = {}) => (await pull(mirror.url + path, { headers })).text
  assert.match(await told('/v2/app/manifests/1.99'), /library\/app:1\.99\): look whether its name is right/)
  const beyond = await told(`/v2/app/blobs/${digest}`, { range: 'bytes=451-' })
  assert.match(beyond, /the blob has 451 bytes, and the range .*bytes=451-.* is not among them: ask/)
  for (const path of ['/v2/_catalog/x', '/nothing']) {
    assert.match(await told(path), /nothing at this path: .* the list of repositories \(\/v2\/_catalog\)/)
  }
})
