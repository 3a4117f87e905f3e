// Neighbours thought of: no source, an address of either kind, an account's id, garbage; a line of several addresses,
// more than are told apart, one that comes again; a window that is over, none told; only one half of a quota.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Asker } from '../../src/upstream/question.ts'
import { Quotas } from '../../src/upstream/quotas.ts'

const start = Date.UTC(2026, 0, 31, 12)

function quotasAt(t: TestContext) {
  let monotonic = 5000
  t.mock.method(performance, 'now', () => monotonic)
  t.mock.timers.enable({ apis: ['Date'], now: start })
  const quotas = new Quotas()
  return {
    quotas,
    forward(seconds: number) {
      monotonic += seconds * 1000
      t.mock.timers.setTime(Date.now() + seconds * 1000)
    },
    hear(remaining: number | undefined, source?: string, as: Asker = 'anyone') {
      quotas.note(as, {
        'ratelimit-limit': '100;w=21600',
        'ratelimit-remaining': remaining === undefined ? undefined : `${remaining};w=21600`,
        'docker-ratelimit-source': source,
      })
    },
    told: () => quotas.all.map(({ as, source, remaining }) => `${as} ${source} ${remaining}`),
  }
}

test('anyone and the account are told apart, with the kind of what is counted by, and when it was heard', (t) => {
  const { quotas, hear, forward, told } = quotasAt(t)
  hear(9, '192.0.2.7')
  forward(60)
  hear(199, '5f3a4e0c-1111-4222-8333-944455556666', 'account')
  assert.deepEqual(told(), ['anyone address 9', 'account account 199'])
  assert.deepEqual(
    quotas.all.map(({ heardAt }) => heardAt - start),
    [0, 60_000],
  )
  assert.deepEqual(quotas.last('anyone'), { limit: 100, remaining: 9, windowSeconds: 21_600 })
  hear(8)
  assert.deepEqual(told(), ['anyone unknown 8', 'anyone address 9', 'account account 199'])
})

test('no address and no id is told', (t) => {
  const { quotas, hear } = quotasAt(t)
  const ids = ['192.0.2.7', '2001:db8::7', 'ann', '"x"}\n']
  for (const id of ids) hear(1, id)
  for (const id of ids) assert.ok(!JSON.stringify(quotas.all).includes(id.slice(0, 3)), id)
})

test('a line of several addresses: a few are told apart, and their numbers are used again', (t) => {
  const { hear, told, forward } = quotasAt(t)
  for (const [remaining, host] of [1, 2, 3, 4].entries()) hear(remaining, `192.0.2.${host}`)
  assert.deepEqual(told(), [
    'anyone address 4 3',
    'anyone address 3 2',
    'anyone address 2 1',
    'anyone address 0',
  ])
  hear(50, '192.0.2.2')
  assert.equal(told()[0], 'anyone address 2 50', 'it keeps its number')
  for (let host = 10; host < 100; host += 1) hear(host, `192.0.2.${host}`)
  assert.equal(told().length, 4)
  for (const line of told()) assert.match(line, /^anyone address( [2-4])? \d+$/)
  forward(21_600)
  assert.deepEqual(told().length, 1, 'only the last one outlives its window')
})

test('what is left is known for a window at most; without a word of it nothing is', (t) => {
  const { quotas, hear, forward } = quotasAt(t)
  assert.equal(quotas.left('anyone'), undefined)
  hear(undefined)
  assert.equal(quotas.left('anyone'), undefined)
  hear(3)
  forward(21_599)
  assert.deepEqual(quotas.left('anyone'), { pulls: 3, seconds: 1 })
  assert.equal(quotas.left('account'), undefined)
  forward(1)
  assert.equal(quotas.left('anyone'), undefined)
  quotas.note('anyone', { 'ratelimit-remaining': '7' })
  forward(21_599)
  assert.deepEqual(
    quotas.left('anyone'),
    { pulls: 7, seconds: 1 },
    'a window that nobody tells is that of Docker Hub',
  )
})

test('answers without a quota change nothing', (t) => {
  const { quotas, hear } = quotasAt(t)
  quotas.note('anyone', { 'docker-ratelimit-source': '192.0.2.7' })
  assert.deepEqual(quotas.all, [])
  hear(4)
  quotas.note('anyone', {})
  assert.equal(quotas.last('anyone')?.remaining, 4)
})
