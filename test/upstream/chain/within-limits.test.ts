import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pino } from 'pino'
import type { RepositoryName } from '../../../src/oci/repository-name.ts'
import { WithinLimits } from '../../../src/upstream/chain/within-limits.ts'
import type { Question } from '../../../src/upstream/question.ts'
import { answerOf, FakeLink } from '../fake-link.ts'

const repository = 'app' as RepositoryName
const get: Question = { method: 'GET', repository, path: 'manifests/latest' }
const head: Question = { ...get, method: 'HEAD' }
const blob: Question = { method: 'GET', repository, path: 'blobs/x' }
const list: Question = { method: 'GET', repository, path: 'tags/list' }
const all = { get, head, blob, list }
const pullLimit = Buffer.from('You have reached your pull rate limit')

/** Limits before a link that answers 429 to what is in `limited`, as the account or as anyone. */
function limitsBefore(options: { account?: { isPaused: boolean }; bytes?: Buffer } = {}) {
  const { account, bytes = Buffer.alloc(0) } = options
  const limited = new Set<string>()
  const link = new FakeLink(({ method, path, as = 'anyone' }) => {
    const quota = { 'ratelimit-limit': as === 'account' ? '200' : '100' }
    const isLimited = limited.has(`${as} ${method} ${path}`)
    return isLimited
      ? answerOf(429, { bytes, headers: { ...quota, 'retry-after': '60' } })
      : answerOf(200, { headers: quota })
  })
  const limits = new WithinLimits(link, {
    upstream: 'docker.io',
    url: new URL('https://registry.test'),
    account,
    patienceMs: 5000,
    logger: pino({ level: 'silent' }),
  })
  /** Which of the questions get through. */
  const open = async (as: 'anyone' | 'account' = 'anyone'): Promise<string[]> => {
    limited.clear()
    const names: string[] = []
    for (const [name, question] of Object.entries(all)) {
      const isAsked = await limits.request({ ...question, as }).then(
        () => true,
        (error) => assert.equal(error.code, 'RATE_LIMITED'),
      )
      if (isAsked) names.push(name)
    }
    return names
  }
  return { limits, limited, link, open }
}

test('a 429 comes back as it is, and then nothing is asked; of the pull limit only what counts as a pull', async () => {
  for (const [bytes, still] of [
    [pullLimit, ['head', 'blob', 'list']],
    [Buffer.from('Too Many Requests'), []],
  ] as const) {
    const { limits, limited, open } = limitsBefore({ bytes })
    limited.add('anyone GET manifests/latest')
    assert.equal((await limits.request(get)).status, 429)
    assert.deepEqual(await open(), still)
  }
})

test('what another host limits is not counted here', async () => {
  const link = new FakeLink(() => answerOf(429, { url: new URL('https://cdn.test') }))
  const limits = new WithinLimits(link, {
    upstream: 'docker.io',
    url: new URL('https://registry.test'),
    account: undefined,
    patienceMs: 5000,
    logger: pino({ level: 'silent' }),
  })
  for (let count = 0; count < 3; count += 1) assert.equal((await limits.request(get)).status, 429)
})

test('with an account: anyone and the account are limited apart, and HEADs by themselves', async () => {
  const account = { isPaused: false }
  for (const [what, asAnyone, asAccount] of [
    ['account GET manifests/latest', ['get', 'head', 'blob', 'list'], []],
    ['anyone GET manifests/latest', [], ['get', 'head', 'blob', 'list']],
    ['anyone HEAD manifests/latest', ['get', 'blob', 'list'], ['get', 'head', 'blob', 'list']],
  ] as const) {
    const { limits, limited, open } = limitsBefore({ account })
    limited.add(what)
    const [as, method] = what.split(' ') as ['account' | 'anyone', 'GET' | 'HEAD']
    await limits.request({ ...get, method, as })
    assert.deepEqual([await open(), await open('account')], [asAnyone, asAccount], what)
  }
})

test('an account that is refused, or none, asks as anyone, and the answer says so', async () => {
  for (const account of [undefined, { isPaused: true }]) {
    const { limits, link } = limitsBefore(account ? { account } : {})
    await limits.request({ ...get, as: 'account' })
    assert.equal(link.questions[0]?.as, 'anyone')
  }
})

test('the quota is the one that pulls are counted by', async () => {
  const account = { isPaused: false }
  const { limits } = limitsBefore({ account })
  const quota = () => limits.rateLimit?.limit
  await limits.request(head)
  assert.equal(quota(), undefined, 'that of anyone is not the quota while there is an account')
  await limits.request({ ...get, as: 'account' })
  assert.equal(quota(), 200)
  account.isPaused = true
  await limits.request(get)
  assert.equal(quota(), 100)
})
