import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { type Share, Shares } from '../../src/flow/shares.ts'
import { until } from '../support/settle.ts'

const patient = { total: 10, perClient: 6, patienceMs: 60_000, restMs: 60_000 }

test('what is free is taken at once; one client has no more than its part', () => {
  const shares = new Shares(patient)
  using first = shares.tryTake('a', 5)
  assert.ok(first)
  assert.equal(shares.tryTake('a', 2), undefined)
  using rest = shares.tryTake('b', 5)
  assert.ok(rest)
  assert.equal(shares.tryTake('c', 1), undefined)
  first[Symbol.dispose]()
  first[Symbol.dispose]()
  using _ = shares.tryTake('a', 5)
  assert.equal(shares.tryTake('c', 1), undefined, 'given back twice is given back once')
})

test('who waits is served in turn, whose client has least first, and who needs much is not passed', async () => {
  const shares = new Shares(patient)
  const order: string[] = []
  const held: Share[] = []
  const want = async (name: string, client: string, weight: number) => {
    const share = await shares.take(client, weight, {})
    order.push(name)
    if (share) held.push(share)
  }
  const six = await shares.take('a', 6, {})
  const four = await shares.take('b', 4, {})
  const waiting = [want('a1', 'a', 2), want('b1', 'b', 1), want('c6', 'c', 6), want('d1', 'd', 1)]
  assert.equal(shares.waitingCount, 4)
  four?.[Symbol.dispose]()
  await new Promise(setImmediate)
  assert.deepEqual(order, ['b1'], 'd would fit, and c came first')
  six?.[Symbol.dispose]()
  await Promise.all(waiting)
  assert.deepEqual(order, ['b1', 'a1', 'c6', 'd1'])
  for (const share of held) share[Symbol.dispose]()
  assert.ok(shares.tryTake('z', 6))
})

test('who leaves, or finds too long a wait, lets those behind have it', async () => {
  const shares = new Shares({ ...patient, patienceMs: 50 })
  using _ = await shares.take('a', 6, {})
  const gone = new AbortController()
  const leaving = shares.take('b', 6, { signal: gone.signal })
  const small = shares.take('c', 4, {})
  gone.abort(new Error('gone'))
  await assert.rejects(leaving, /gone/)
  assert.ok(await small)
  assert.equal(await shares.take('d', 1, {}), undefined)
  assert.equal(shares.waitingCount, 0)
})

test('what was given to one that left in the same moment is given back', async () => {
  const shares = new Shares(patient)
  const six = await shares.take('a', 6, {})
  const gone = new AbortController()
  const leaving = shares.take('b', 6, { signal: gone.signal })
  gone.abort(new Error('gone'))
  six?.[Symbol.dispose]()
  await assert.rejects(leaving, /gone/)
  await until(() => shares.tryTake('c', 6) !== undefined)
})

test('a share that rests is over where somebody waits, and no sooner; one in use is not', async () => {
  const shares = new Shares({ ...patient, restMs: 20 })
  const [resting, used] = [await shares.take('a', 5, {}), await shares.take('b', 5, {})]
  assert.ok(resting && used)
  used.rest()
  used.use()
  const over = resting.rest()
  await new Promise((resolve) => setTimeout(resolve, 60))
  assert.equal(over.aborted, false, 'nobody waits')
  const waiting = shares.take('c', 5, {})
  await once(over, 'abort')
  resting[Symbol.dispose]()
  assert.ok(await waiting)
  assert.equal(used.rest().aborted, false)
})

test('of several that rest as many end as are needed, of the client that has most; of its own for its own part', async () => {
  const shares = new Shares({ ...patient, restMs: 20 })
  const take = async (client: string, weight: number) => {
    const share = await shares.take(client, weight, {})
    assert.ok(share)
    const over = share.rest()
    over.addEventListener('abort', () => share[Symbol.dispose]())
    return over
  }
  const ofA = [await take('a', 2), await take('a', 2), await take('a', 2)]
  const ofB = [await take('b', 2)]
  await take('c', 3)
  assert.deepEqual(
    [...ofA, ...ofB].map(({ aborted }) => aborted),
    [true, false, false, false],
  )
  await take('b', 5)
  await Promise.all([take('b', 3), take('b', 3)])
  assert.equal(ofB[0]?.aborted, true, 'its client has no more than its part')
})
