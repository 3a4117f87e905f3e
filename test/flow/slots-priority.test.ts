// For what a turn is. Neighbours that were thought of: every priority against every other one; people at work, waiting
// and resting; at another upstream; those who leave, come back, or join what waits; a second connection of a blob; what
// does not end when it is told; whatever comes in any order.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { type Priority, Slots, type Turn, type WhyOver } from '../../src/flow/slots.ts'
import { Uplink } from '../../src/flow/uplink.ts'

const turnMs = 10_000
const ranked: readonly Priority[] = ['people', 'ahead', 'revalidation', 'warming', 'finishing']

/** Virtual time. */
function clock(t: TestContext) {
  t.mock.timers.enable({ apis: ['setInterval', 'Date'] })
  t.mock.method(performance, 'now', () => Date.now())
  return async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 50) {
      t.mock.timers.tick(50)
      await settled()
    }
  }
}

async function settled(): Promise<void> {
  for (let i = 0; i < 12; i += 1) await Promise.resolve()
}

class Guest implements Turn {
  readonly clients = new Set<string>()
  readonly background: Exclude<Priority, 'people'> | undefined
  isFurther: boolean
  readonly over: WhyOver[] = []
  receivingSince: number | undefined
  bytes = 0
  restingMs = 0
  /** Whether it keeps its place, whatever it is told. */
  isStubborn = false
  given = 0
  isLeft = false
  readonly slots: Slots
  readonly #left = new AbortController()
  #place: Disposable | undefined

  constructor(slots: Slots, what: Priority | { client: string }, isFurther = false) {
    this.slots = slots
    this.background = typeof what === 'object' || what === 'people' ? undefined : what
    if (typeof what === 'object') this.clients.add(what.client)
    else if (what === 'people') this.clients.add('somebody')
    this.isFurther = isFurther
    void this.#queue()
  }

  get hasPlace(): boolean {
    return this.#place !== undefined
  }

  get isWaiting(): boolean {
    return !this.hasPlace && !this.isLeft
  }

  get priority(): number {
    return this.clients.size > 0 ? 0 : ranked.indexOf(this.background ?? 'finishing')
  }

  get rank(): number {
    return 2 * this.priority + Number(this.isFurther)
  }

  end(why: WhyOver): boolean {
    this.over.push(why)
    if (this.isStubborn) return false
    this.leave()
    return true
  }

  leave(): void {
    this.isLeft = true
    this.#left.abort(new Error('left'))
    this.#place?.[Symbol.dispose]()
    this.#place = undefined
  }

  async #queue(): Promise<void> {
    try {
      const place = await this.slots.take(this, this.#left.signal)
      this.given += 1
      if (this.isLeft) place[Symbol.dispose]()
      else this.#place = place
    } catch (error) {
      assert.equal((error as Error).message, 'left')
    }
  }
}

/** The slots of two upstreams, on one line. */
function twoUpstreams({ places = 2 } = {}) {
  const uplink = new Uplink()
  const slots = (): Slots => new Slots({ places, turnMs, uplink })
  return { near: slots(), far: slots() }
}

const places = (guests: readonly Guest[]) => guests.map(({ hasPlace }) => hasPlace)

test('of two that wait the one of the better priority goes first, whoever came first', async () => {
  for (const [index, better] of ranked.entries()) {
    for (const worse of ranked.slice(index + 1)) {
      const { near } = twoUpstreams({ places: 1 })
      const holder = new Guest(near, { client: 'a' })
      const [late, early] = [new Guest(near, worse), new Guest(near, better)]
      await settled()
      holder.leave()
      await settled()
      assert.deepEqual(places([early, late]), [true, false], `${better} before ${worse}`)
      early.leave()
      await settled()
      assert.equal(late.hasPlace, true, `${worse} is not forgotten`)
    }
  }
})

test('a turn ends at once for one of a better priority, and for no worse one', async (t) => {
  const pass = clock(t)
  for (const [index, better] of ranked.entries()) {
    for (const worse of ranked.slice(index + 1)) {
      const { near } = twoUpstreams({ places: 1 })
      const holder = new Guest(near, worse)
      await settled()
      const come = new Guest(near, better)
      await settled()
      assert.deepEqual([holder.over, come.hasPlace], [['unwanted'], true], `${worse} for ${better}`)
      const waiting = new Guest(near, worse)
      await pass(2 * turnMs)
      assert.deepEqual([come.over, waiting.hasPlace], [[], false], `${better} not for ${worse}`)
      come.leave()
      waiting.leave()
    }
  }
})

test('background work pauses beside anything better, at the other upstream and with places free', async (t) => {
  const pass = clock(t)
  for (const worse of ['revalidation', 'warming', 'finishing'] as const) {
    const { near, far } = twoUpstreams()
    const atWork = new Guest(near, worse)
    await settled()
    assert.equal(atWork.hasPlace, true)
    const people = new Guest(far, 'people')
    await settled()
    assert.deepEqual([atWork.over, people.hasPlace], [['unwanted'], true])
    const again = [new Guest(near, worse), new Guest(far, worse)]
    await pass(10 * turnMs)
    assert.deepEqual(places(again), [false, false], 'it waits as long as people are at work')
    people.leave()
    await settled()
    assert.deepEqual(places(again), [true, true], 'it goes on when they are gone')
    assert.deepEqual(people.over, [])
    for (const one of again) one.leave()
  }
})

test('background work pauses for people who wait as well, and for what is better than itself', async () => {
  const { near, far } = twoUpstreams({ places: 1 })
  const [holder, waits] = [new Guest(near, 'ahead'), new Guest(near, 'ahead')]
  const mending = new Guest(far, 'revalidation')
  await settled()
  assert.deepEqual(places([holder, waits, mending]), [true, false, false])
  holder.leave()
  await settled()
  assert.deepEqual(places([waits, mending]), [true, false])
  waits.leave()
  await settled()
  assert.equal(mending.hasPlace, true)
  const warming = new Guest(near, 'warming')
  await settled()
  assert.equal(warming.hasPlace, false)
})

test('what is fetched ahead uses what is free beside people, and nothing else', async () => {
  const { near } = twoUpstreams()
  const person = new Guest(near, { client: 'a' })
  const ahead = new Guest(near, 'ahead')
  await settled()
  assert.deepEqual(places([person, ahead]), [true, true])
  const other = new Guest(near, { client: 'b' })
  await settled()
  assert.deepEqual([ahead.over, other.hasPlace], [['unwanted'], true])
})

test('somebody who joins what waits, or what is under way, makes it one of people', async (t) => {
  const pass = clock(t)
  const { near, far } = twoUpstreams()
  const person = new Guest(far, { client: 'a' })
  const paused = new Guest(near, 'warming')
  await pass(1000)
  assert.equal(paused.hasPlace, false)
  paused.clients.add('b')
  await pass(100)
  assert.equal(paused.hasPlace, true)
  person.leave()
  const late = new Guest(far, { client: 'c' })
  await pass(1000)
  assert.deepEqual([paused.over, late.hasPlace], [[], true])
})

test('whoever leaves has a second to come back, where nobody needs the place', async (t) => {
  const pass = clock(t)
  const { near, far } = twoUpstreams()
  const [left, person] = [new Guest(near, { client: 'a' }), new Guest(far, { client: 'b' })]
  await pass(500)
  left.clients.clear()
  await pass(900)
  assert.deepEqual(left.over, [])
  left.clients.add('a')
  await pass(1000)
  left.clients.clear()
  await pass(1000)
  assert.deepEqual(left.over, [])
  await pass(500)
  assert.deepEqual([left.over, person.hasPlace], [['unwanted'], true])
})

test('what has no reader that takes anything keeps nobody from the line', async (t) => {
  const pass = clock(t)
  const { near, far } = twoUpstreams()
  const person = new Guest(near, { client: 'a' })
  const warming = new Guest(far, 'warming')
  await pass(500)
  assert.equal(warming.hasPlace, false)
  person.restingMs = 1500
  await pass(100)
  assert.equal(warming.hasPlace, true)
  person.restingMs = 0
  await pass(300)
  assert.deepEqual([warming.over, person.over], [['unwanted'], []])
})

test('a further connection of a blob comes behind the first ones, of whichever client', async () => {
  const { near } = twoUpstreams({ places: 1 })
  const holder = new Guest(near, { client: 'a' })
  const [further, first] = [new Guest(near, { client: 'b' }, true), new Guest(near, { client: 'a' })]
  await settled()
  holder.leave()
  await settled()
  assert.deepEqual(places([further, first]), [false, true])
})

test('a further connection ends at once for a first one, of whoever has most, and for no further one', async () => {
  const { near } = twoUpstreams({ places: 5 })
  const first = [new Guest(near, { client: 'a' }), new Guest(near, { client: 'b' })]
  const ofFew = new Guest(near, { client: 'a' }, true)
  const ofMany = [new Guest(near, { client: 'b' }, true), new Guest(near, { client: 'b' }, true)]
  await settled()
  const waits = new Guest(near, { client: 'c' }, true)
  await settled()
  assert.deepEqual(places([...first, ofFew, ...ofMany, waits]), [true, true, true, true, true, false])
  waits.isFurther = false
  const come = new Guest(near, { client: 'd' })
  await settled()
  assert.deepEqual([ofFew.over, ofMany.map(({ over }) => over)], [[], [['further'], []]])
  assert.equal(Number(come.hasPlace) + Number(waits.hasPlace), 1)
})

test('what is told to give way and keeps its place is told again, and keeps nobody else waiting', async (t) => {
  const pass = clock(t)
  const { near, far } = twoUpstreams()
  const stubborn = new Guest(near, 'warming')
  await settled()
  stubborn.isStubborn = true
  const people = [new Guest(far, { client: 'a' }), new Guest(near, { client: 'b' })]
  await pass(500)
  assert.deepEqual(places(people), [true, true])
  const told = stubborn.over.length
  assert.ok(told > 0)
  stubborn.isStubborn = false
  await pass(500)
  assert.equal(stubborn.hasPlace, false)
})

test('background work goes on at once when the last one of people stops waiting', async () => {
  const { near, far } = twoUpstreams({ places: 1 })
  const stubborn = new Guest(near, 'warming')
  await settled()
  stubborn.isStubborn = true
  const [person, paused] = [new Guest(near, { client: 'a' }), new Guest(far, 'warming')]
  await settled()
  assert.deepEqual(places([person, paused]), [false, false])
  person.leave()
  await settled()
  assert.equal(paused.hasPlace, true)
})

test('whoever takes a place again while it is told to end gets none before the better one', async () => {
  const { near } = twoUpstreams({ places: 1 })
  const again: Guest[] = []
  const holder = new Guest(near, 'finishing')
  await settled()
  const leave = holder.end.bind(holder)
  holder.end = (why) => {
    const isLeft = leave(why)
    again.push(new Guest(near, 'finishing'))
    return isLeft
  }
  const person = new Guest(near, { client: 'a' })
  await settled()
  assert.deepEqual([person.hasPlace, places(again)], [true, [false]])
  person.leave()
  await settled()
  assert.deepEqual(places(again), [true])
})

type Step =
  | {
      readonly do: 'take'
      readonly at: number
      readonly what: Priority
      readonly isFurther: boolean
      readonly client: number
    }
  | { readonly do: 'leave' | 'abandon' | 'join' | 'rest' | 'wake' | 'promote'; readonly whom: number }
  | { readonly do: 'pass'; readonly ms: number }

const whom = fc.nat(30)
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('take' as const),
      at: fc.nat(1),
      what: fc.constantFrom(...ranked),
      isFurther: fc.boolean(),
      client: fc.nat(3),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'leave' as const,
        'abandon' as const,
        'join' as const,
        'rest' as const,
        'wake' as const,
        'promote' as const,
      ),
      whom,
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('leave' as const), whom }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.nat(3000) }) },
)

test('whatever comes in whatever order: nobody waits behind somebody worse, and no place is lost', async (t) => {
  const pass = clock(t)
  const property = fc.asyncProperty(
    fc.array(step, { maxLength: 40 }),
    fc.integer({ min: 1, max: 3 }),
    async (steps, count) => {
      const { near, far } = twoUpstreams({ places: count })
      const guests: Guest[] = []
      const here = () => guests.filter(({ isLeft }) => !isLeft)
      /** The best priority of those who are at work. */
      const best = () =>
        Math.min(
          ...here()
            .filter(({ restingMs }) => restingMs === 0)
            .map(({ priority }) => priority),
        )

      for (const one of steps) {
        const had = new Set(here().filter(({ hasPlace }) => hasPlace))
        if (one.do === 'take') {
          const what = one.what === 'people' ? { client: `client ${one.client}` } : one.what
          guests.push(new Guest(one.at === 0 ? near : far, what, one.isFurther))
        } else if (one.do === 'pass') await pass(one.ms)
        else {
          const guest = here()[one.whom % Math.max(1, here().length)]
          if (one.do === 'leave') guest?.leave()
          else if (one.do === 'abandon') guest?.clients.clear()
          else if (one.do === 'join') guest?.clients.add('client 9')
          else if (one.do === 'promote' && guest) guest.isFurther = false
          else if (guest) guest.restingMs = one.do === 'rest' ? 5000 : 0
        }
        await settled()
        for (const guest of here().filter((other) => other.hasPlace && !had.has(other))) {
          assert.ok(
            guest.priority < 2 || guest.priority <= best(),
            'background work began beside better work',
          )
        }
        for (const slots of [near, far]) {
          assert.ok(here().filter((guest) => guest.slots === slots && guest.hasPlace).length <= count)
        }
        assert.ok(guests.every(({ given }) => given <= 1))
      }

      // All that changes without a word is seen by now.
      await pass(1500)
      for (const slots of [near, far]) {
        const [holders, waiting] = [true, false].map((has) =>
          here().filter((guest) => guest.slots === slots && guest.hasPlace === has),
        )
        assert.ok(holders && waiting)
        for (const one of waiting) {
          const mayRun = one.priority < 2 || one.priority <= best()
          if (!mayRun) continue
          assert.equal(holders.length, count, 'a place is free, and somebody waits who may have it')
          // Nothing of it could come: it takes what is free, and ends nobody's turn.
          if (one.restingMs > 0) continue
          for (const holder of holders) assert.ok(holder.rank <= one.rank, 'somebody worse has the place')
        }
        for (const holder of holders) {
          assert.ok(
            holder.priority < 2 || holder.priority <= best(),
            'background work goes on beside better work',
          )
        }
      }

      for (const guest of here()) guest.leave()
      await settled()
      for (const slots of [near, far]) {
        const last = Array.from({ length: count + 1 }, () => new Guest(slots, { client: 'last' }))
        await settled()
        assert.equal(
          last.filter(({ hasPlace }) => hasPlace).length,
          count,
          'a place is lost, or there is one too many',
        )
        for (const one of last) one.leave()
      }
      await settled()
    },
  )
  await fc.assert(property, { numRuns: 300 })
})
