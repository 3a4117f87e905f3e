import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { RegistryError } from '../../src/oci/error.ts'
import { LineUse } from '../../src/upstream/connections/line-use.ts'
import { UpstreamError, type UpstreamErrorCode } from '../../src/upstream/error.ts'
import { SmallAnswers } from '../../src/upstream/small-answers.ts'
import { answerOf } from './fake-link.ts'
import { failsWith } from './fixtures.ts'

function answersOf(isReachable = true): SmallAnswers {
  const options = { upstream: 'docker.io', patienceMs: 5000, lineUse: new LineUse() }
  return new SmallAnswers({ ...options, isReachable: () => isReachable })
}

/** Asks what fails with `code`; how often it was asked. */
async function timesOf(
  t: TestContext,
  code: UpstreamErrorCode,
  {
    status = 500,
    isReachable = true,
    retries,
    retryAfterSeconds,
  }: { status?: number; isReachable?: boolean; retries?: number; retryAfterSeconds?: number } = {},
): Promise<number> {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let times = 0
  const ask = async () => {
    times += 1
    throw new UpstreamError(code, 'docker.io', 'no', { status, retryAfterSeconds })
  }
  let isOver = false
  const asking = answersOf(isReachable)
    .get(ask, {}, retries)
    .catch((error: UpstreamError) => assert.equal(error.code, code))
    .finally(() => {
      isOver = true
    })
  while (!isOver) {
    t.mock.timers.tick(1000)
    await new Promise((resolve) => setImmediate(resolve))
  }
  await asking
  t.mock.timers.reset()
  return times
}

test('what fails on the other side is asked three times, everything else once', async (t) => {
  assert.equal(await timesOf(t, 'SERVER_ERROR'), 3)
  assert.equal(await timesOf(t, 'UNREACHABLE'), 3)
  for (const code of ['TIMED_OUT', 'NOT_FOUND', 'RATE_LIMITED', 'INVALID_RESPONSE'] as const) {
    assert.equal(await timesOf(t, code), 1, code)
  }
  assert.equal(await timesOf(t, 'SERVER_ERROR', { isReachable: false }), 1)
  assert.equal(await timesOf(t, 'SERVER_ERROR', { retries: 0 }), 1)
})

test('the time that the other side wants is waited, if it is short, and is else told to whoever asks', async (t) => {
  assert.equal(await timesOf(t, 'SERVER_ERROR', { retryAfterSeconds: 2 }), 3)
  assert.equal(await timesOf(t, 'SERVER_ERROR', { retryAfterSeconds: 3 }), 1)
  assert.equal(await timesOf(t, 'SERVER_ERROR', { retryAfterSeconds: 3600 }), 1)
})

test('a body that breaks off is asked for again, and comes whole', async () => {
  const cut = answerOf(200, {
    async *body() {
      yield Buffer.from('half')
      throw new UpstreamError('UNREACHABLE', 'docker.io', 'cut')
    },
  })
  const script = [cut, answerOf(200, { bytes: Buffer.from('whole') })]
  const { bytes } = await answersOf().get(async () => script.shift() ?? cut, {}, 1)
  assert.equal(bytes.toString(), 'whole')
})

test('a body without end is no small answer', async () => {
  const endless = answerOf(200, {
    async *body() {
      for (;;) yield Buffer.alloc(1024 * 1024)
    },
  })
  await assert.rejects(
    answersOf().get(async () => endless),
    { code: 'INVALID_RESPONSE' },
  )
})

test('what cannot be read is told as that, and a web page as a web page', async () => {
  const unread = () => Promise.reject(new RegistryError('MANIFEST_INVALID', 'it is no list'))
  const page = answerOf(200, { headers: { 'content-type': 'text/html' } })
  assert.equal(await answersOf().parsed(page, Promise.resolve(7)), 7)
  await failsWith(answersOf().parsed(answerOf(200), unread()), 'INVALID_RESPONSE', /no list/)
  await failsWith(answersOf().parsed(page, unread()), 'INVALID_RESPONSE', /a web page/)
  await assert.rejects(answersOf().parsed(page, Promise.reject(new TypeError('a bug'))), TypeError)
})
