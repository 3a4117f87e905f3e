// Neighbours thought of: as anyone and as the account; HEAD, blobs and lists, which cost no pull; a reserve that is
// larger than the whole quota, or 0; a quota that nobody told of, or that was told of long ago.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pino } from 'pino'
import type { RepositoryName } from '../../../src/oci/repository-name.ts'
import { WithinLimits } from '../../../src/upstream/chain/within-limits.ts'
import type { Question } from '../../../src/upstream/question.ts'
import { answerOf, FakeLink } from '../fake-link.ts'
import { failsWith } from '../fixtures.ts'

const repository = 'app' as RepositoryName
const get: Question = { method: 'GET', repository, path: 'manifests/latest' }
const head: Question = { ...get, method: 'HEAD' }
const background = 'warming' as const

function limitsWith(
  reserve: number | undefined,
  quota: { remaining: number | undefined },
  account?: { isPaused: boolean },
) {
  const link = new FakeLink(() =>
    answerOf(200, {
      headers: {
        'ratelimit-limit': '100;w=21600',
        ...(quota.remaining === undefined ? {} : { 'ratelimit-remaining': `${quota.remaining};w=21600` }),
      },
    }),
  )
  const limits = new WithinLimits(link, {
    upstream: 'docker.io',
    url: new URL('https://registry.test'),
    account,
    reserve,
    patienceMs: 5000,
    logger: pino({ level: 'silent' }),
  })
  return { limits, asked: () => link.questions.length }
}

for (const [reserve, remaining, isLeftToPeople] of [
  [10, 11, false],
  [10, 10, true],
  [10, 0, true],
  [0, 1, false],
  [0, 0, true],
  [undefined, 1, false],
  [100, 100, true],
  [1_000_000, 100, true],
] as const) {
  test(`limits.reserve ${reserve}, and ${remaining} are left: people pull${isLeftToPeople ? ', and nobody else does' : ', and so does what is for nobody'}`, async () => {
    const { limits, asked } = limitsWith(reserve, { remaining })
    await limits.request(head)
    assert.equal(limits.isReserved, isLeftToPeople)
    const asking = limits.request({ ...get, background })
    if (isLeftToPeople)
      await failsWith(asking, 'RESERVED', /^docker\.io: not asked, since \d+ of its pulls are left/)
    else await asking
    assert.equal(asked(), isLeftToPeople ? 1 : 2)
    assert.equal((await limits.request(get)).status, 200)
  })
}

test('what costs no pull is asked for nobody as well, and tells what is left now', async () => {
  const quota = { remaining: 3 }
  const { limits } = limitsWith(10, quota)
  await limits.request(head)
  for (const path of ['blobs/x', 'tags/list']) await limits.request({ ...get, path, background })
  quota.remaining = 90
  await limits.request({ ...head, background })
  await limits.request({ ...get, background })
})

test('nothing is kept from anybody where no quota is told, or was told a window ago', async (t) => {
  const quota: { remaining: number | undefined } = { remaining: undefined }
  const { limits } = limitsWith(10, quota)
  await limits.request({ ...get, background })
  await limits.request({ ...get, background })
  quota.remaining = 0
  await limits.request(get)
  await failsWith(limits.request({ ...get, background }), 'RESERVED')
  const real = performance.now.bind(performance)
  t.mock.method(performance, 'now', () => real() + 21_600_000)
  await limits.request({ ...get, background })
})

test('the quota of the account counts for what is asked as the account, and that of anyone for the rest', async () => {
  const quota = { remaining: 5 }
  const { limits } = limitsWith(10, quota, { isPaused: false })
  await limits.request({ ...get, as: 'account' })
  quota.remaining = 50
  await limits.request({ ...get, background })
  await failsWith(limits.request({ ...get, as: 'account', background }), 'RESERVED')
  assert.equal(limits.isReserved, true)
})
