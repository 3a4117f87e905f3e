import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RepositoryName } from '../../../src/oci/repository-name.ts'
import { StatusToError } from '../../../src/upstream/chain/status-to-error.ts'
import type { Answer, Question } from '../../../src/upstream/question.ts'
import { answerOf, FakeLink } from '../fake-link.ts'

const question: Question = { method: 'GET', repository: 'app' as RepositoryName, path: 'manifests/latest' }
const elsewhere = new URL('https://cdn.test/blob')

function linkTo(answer: Answer, served: number[] = []): StatusToError {
  const onServed = ({ status }: Answer) => void served.push(status)
  const url = new URL('https://registry.test')
  return new StatusToError(new FakeLink(() => answer), { upstream: 'docker.io', url, onServed })
}

const failures: readonly [status: number, code: string][] = [
  [304, 'INVALID_RESPONSE'],
  [400, 'INVALID_RESPONSE'],
  [401, 'UNAUTHORIZED'],
  [403, 'FORBIDDEN'],
  [404, 'NOT_FOUND'],
  [429, 'RATE_LIMITED'],
  [500, 'SERVER_ERROR'],
  [503, 'SERVER_ERROR'],
]

for (const [status, code] of failures) {
  test(`${status} is ${code}, of whoever answered it, and its body is let go`, async () => {
    let discarded = 0
    const discard = (): void => {
      discarded += 1
    }
    const served: number[] = []
    const own = linkTo(answerOf(status, { discard }), served)
    await assert.rejects(own.request(question), { name: 'UpstreamError', code, status, isElsewhere: false })
    const other = linkTo(answerOf(status, { discard, url: elsewhere }), served)
    await assert.rejects(other.request(question), {
      code,
      status,
      isElsewhere: true,
      message: /cdn\.test, to which/,
    })
    assert.deepEqual([discarded, served], [2, []])
  })
}

test('what is out of order may say for how long, and nothing else does', async () => {
  const headers = { 'retry-after': '120' }
  const own = (status: number) => linkTo(answerOf(status, { headers })).request(question)
  await assert.rejects(own(503), { code: 'SERVER_ERROR', retryAfterSeconds: 120 })
  await assert.rejects(own(404), { code: 'NOT_FOUND', retryAfterSeconds: undefined })
})

test('what is 2xx comes back as it is, and is told as served', async () => {
  const served: number[] = []
  for (const status of [200, 206]) {
    assert.equal((await linkTo(answerOf(status), served).request(question)).status, status)
  }
  assert.deepEqual(served, [200, 206])
})

test('a redirect is an answer to whoever wants to keep it, and a failure to all others', async () => {
  const redirect = answerOf(307, { headers: { location: elsewhere.href } })
  assert.equal((await linkTo(redirect).request({ ...question, keepRedirect: true })).status, 307)
  await assert.rejects(linkTo(redirect).request(question), { code: 'INVALID_RESPONSE' })
  await assert.rejects(linkTo(answerOf(307)).request({ ...question, keepRedirect: true }), {
    code: 'INVALID_RESPONSE',
  })
})

test('a 429 says when to ask again', async () => {
  const limited = linkTo(answerOf(429, { headers: { 'retry-after': '120' } }))
  await assert.rejects(limited.request(question), { retryAfterSeconds: 120 })
})
