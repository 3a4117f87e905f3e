import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pino } from 'pino'
import type { RepositoryName } from '../../../src/oci/repository-name.ts'
import { AnswerCounts } from '../../../src/upstream/answer-counts.ts'
import { WithTokens } from '../../../src/upstream/chain/with-tokens.ts'
import type { TransportResponse } from '../../../src/upstream/connections/exchange.ts'
import type { TransportRequest } from '../../../src/upstream/connections/transport.ts'
import type { Question } from '../../../src/upstream/question.ts'
import { Account } from '../../../src/upstream/tokens/account.ts'
import { Sites } from '../../../src/upstream/tokens/sites.ts'
import { TokenSource } from '../../../src/upstream/tokens/token-source.ts'
import { until } from '../../support/settle.ts'
import { answerOf } from '../fake-link.ts'
import { tokensInMemory } from '../fixtures.ts'

const url = new URL('https://registry.test')
const question: Question = { method: 'GET', repository: 'app' as RepositoryName, path: 'manifests/latest' }
const challenge = { 'www-authenticate': 'Bearer realm="https://registry.test/token",service="s"' }

/** The link before a transport that answers by `answer`; what it was asked, as `authorization url`. */
function tokensBefore(answer: (request: TransportRequest) => TransportResponse | Promise<TransportResponse>) {
  const asked: string[] = []
  const transport = {
    request: async (request: TransportRequest) => {
      asked.push(`${request.headers?.authorization ?? '-'} ${request.url.pathname}`)
      return answer(request)
    },
  }
  const tokensAt = (origin: URL) =>
    new TokenSource({
      upstream: 'docker.io',
      url: origin,
      realms: [],
      tokens: tokensInMemory(),
      transport,
      patienceMs: 5000,
    })
  const sites = new Sites({ upstream: 'docker.io', url, patienceMs: 5000, tokens: tokensAt(url), tokensAt })
  const credentials = { username: 'operator', password: 'p' }
  const account = new Account({ upstream: 'docker.io', credentials, logger: pino({ level: 'silent' }) })
  const counts = new AnswerCounts()
  return { asked, counts, link: new WithTokens(transport, { url, sites, account, counts }) }
}

/** A registry with a token service, which gives whoever asks a token of their own. */
function registry({ url: { pathname, searchParams }, headers }: TransportRequest): TransportResponse {
  if (pathname === '/token') {
    const token = searchParams.get('account') ?? 'anyone'
    return answerOf(200, { bytes: Buffer.from(JSON.stringify({ token })) })
  }
  return headers?.authorization ? answerOf(200) : answerOf(401, { headers: challenge })
}

test('a 401 is answered with a token, and the next question brings it along', async () => {
  const { link, asked, counts } = tokensBefore(registry)
  assert.equal((await link.request(question)).status, 200)
  await link.request({ ...question, path: 'blobs/x' })
  assert.deepEqual(asked, [
    '- /v2/app/manifests/latest',
    '- /token',
    'Bearer anyone /v2/app/manifests/latest',
    'Bearer anyone /v2/app/blobs/x',
  ])
  assert.deepEqual(Object.fromEntries(counts.byKind), {
    'GET manifest 401': 1,
    'GET manifest 200': 1,
    'GET blob 200': 1,
  })
})

test('the account is used by who asks as the account only, and the answer says as whom it was', async () => {
  const { link, asked } = tokensBefore(registry)
  assert.equal((await link.request(question)).as, 'anyone')
  assert.equal((await link.request({ ...question, as: 'account' })).as, 'account')
  assert.deepEqual(asked.slice(2), [
    'Bearer anyone /v2/app/manifests/latest',
    `Basic ${Buffer.from('operator:p').toString('base64')} /token`,
    'Bearer operator /v2/app/manifests/latest',
  ])
})

test('a 401 to which there is nothing more to say comes back', async () => {
  const { link } = tokensBefore(({ url: { pathname } }) =>
    pathname === '/token'
      ? registry({ method: 'GET', url: new URL('/token', url) })
      : answerOf(401, { headers: challenge }),
  )
  assert.equal((await link.request(question)).status, 401)
})

test('who leaves while the token service says nothing ends that where nobody else waits for it; the next one gets its token', async () => {
  let answer = Promise.withResolvers<TransportResponse>()
  const fetches: AbortSignal[] = []
  const { link } = tokensBefore((request) => {
    if (request.url.pathname !== '/token') return registry(request)
    if (request.signal) fetches.push(request.signal)
    return answer.promise
  })
  // Of the first a token is wanted by a 401, of the second one is brought along.
  for (const name of ['app', 'other']) {
    const repository = name as RepositoryName
    const leaving = [new AbortController(), new AbortController()]
    const [left, alsoLeft] = leaving.map(({ signal }) => link.request({ ...question, repository, signal }))
    await until(() => fetches.length === 1)
    leaving[0]?.abort(new Error('left'))
    await assert.rejects(left as Promise<unknown>, /left/)
    assert.equal(fetches[0]?.aborted, false, 'another one waits for the same token')
    leaving[1]?.abort(new Error('left, too'))
    await assert.rejects(alsoLeft as Promise<unknown>, /left, too/)
    assert.equal(fetches[0]?.aborted, true)
    const next = link.request({ ...question, repository })
    answer.resolve(answerOf(200, { bytes: Buffer.from('{"token":"t"}') }))
    assert.equal((await next).status, 200)
    assert.equal(fetches.splice(0).length, 2)
    answer = Promise.withResolvers()
  }
})

test('a redirect is told; to storage it may be kept, to another registry it is followed', async () => {
  const told: string[] = []
  const kept: boolean[] = []
  const { link } = tokensBefore(async ({ redirects }) => {
    for (const next of ['https://cdn.test/file', 'https://other.test/v2/owner/app/manifests/latest']) {
      kept.push(redirects?.keep?.(new URL(next)) === true)
      assert.equal(await redirects?.authorize?.(new URL(next), true), undefined)
    }
    return answerOf(200)
  })
  const onRedirect = () => void told.push('redirect')
  await link.request({ ...question, onRedirect, keepRedirect: true })
  await link.request({ ...question, onRedirect })
  assert.deepEqual(kept, [true, false, false, false])
  assert.equal(told.length, 4)
})

test('a registry that it redirects to and that limits us is asked no more for a while', async () => {
  const other = new URL('https://other.test/v2/owner/app/manifests/latest')
  let isLimited = false
  const { link } = tokensBefore(async ({ redirects }) => {
    await redirects?.authorize?.(other, true)
    isLimited = true
    return answerOf(429, { url: other, headers: { 'retry-after': '60' } })
  })
  assert.equal((await link.request(question)).status, 429)
  assert.equal(isLimited, true)
  await assert.rejects(link.request(question), {
    code: 'RATE_LIMITED',
    isElsewhere: true,
    retryAfterSeconds: 60,
  })
})
