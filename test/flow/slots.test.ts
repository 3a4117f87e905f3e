// Turns on a line. Neighbours that were thought of: nobody waits; clients that leave or come while their turn is waited
// for, or had; the same blob for two clients; a turn that brings nothing, next to nothing, nothing that is taken; one
// that cannot end; a place that is given back late, twice, to somebody who leaves in the same tick.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Slots, type Turn, type WhyOver } from '../../src/flow/slots.ts'

const turnMs = 1000

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
  for (let i = 0; i < 10; i += 1) await Promise.resolve()
}

/** One that wants a turn, and has it until it is told to end. */
class Guest implements Turn {
  readonly clients: Set<string>
  readonly over: WhyOver[] = []
  receivingSince: number | undefined
  bytes = 0
  restingMs = 0
  isStarved = false
  turns = 0
  /** The turns that it does not end. */
  keeps: readonly WhyOver[] = []
  #slot: Disposable | undefined
  readonly #line: Slots
  readonly #left = new AbortController()

  constructor(line: Slots, ...clients: string[]) {
    this.#line = line
    this.clients = new Set(clients)
    void this.#queue()
  }

  get hasPlace(): boolean {
    return this.#slot !== undefined
  }

  /** Much comes. */
  receive(bytes = 1_000_000): this {
    this.receivingSince = performance.now()
    this.bytes = bytes
    return this
  }

  end(why: WhyOver): boolean {
    this.over.push(why)
    if (this.keeps.includes(why)) return false
    this.leave()
    return true
  }

  leave(): void {
    this.#left.abort(new Error('left'))
    this.#slot?.[Symbol.dispose]()
    this.#slot = undefined
  }

  async #queue(): Promise<void> {
    try {
      const slot = await this.#line.take(this, this.#left.signal)
      if (this.#left.signal.aborted) slot[Symbol.dispose]()
      else this.#slot = slot
      this.turns += 1
    } catch {
      // It has left.
    }
  }
}

const idle: Turn = { clients: ['a'], receivingSince: 0, bytes: 0, restingMs: 0, end: () => false }
const places = (guests: Guest[]) => guests.map(({ hasPlace }) => hasPlace)

test('what somebody waits for goes before what nobody waits for, as it is when a place becomes free', async () => {
  const line = new Slots({ places: 1, turnMs })
  const first = new Guest(line, 'a')
  const [left, joined, late] = [new Guest(line, 'b'), new Guest(line), new Guest(line, 'c')]
  await settled()
  left.clients.clear()
  joined.clients.add('d')
  first.leave()
  await settled()
  assert.deepEqual(places([left, joined, late]), [false, true, false])
  joined.leave()
  late.leave()
  await settled()
  assert.equal(left.hasPlace, true, 'nothing is forgotten')
})

test('within a rank clients are served in turn, and each of them as it came', async () => {
  const line = new Slots({ places: 1, turnMs })
  const first = new Guest(line, 'a')
  const guests = ['a', 'a', 'a', 'b', 'b', 'c'].map((client) => new Guest(line, client))
  first.leave()
  const order: number[] = []
  for (const _ of guests) {
    await settled()
    const index = guests.findIndex(({ hasPlace }) => hasPlace)
    order.push(index)
    guests[index]?.leave()
  }
  assert.deepEqual(order, [3, 5, 0, 4, 1, 2])
})

test('what two clients wait for comes when it is the turn of either, and is charged to that one', async () => {
  const line = new Slots({ places: 1, turnMs })
  const first = new Guest(line, 'a')
  const [own, both, other] = [new Guest(line, 'a'), new Guest(line, 'a', 'b'), new Guest(line, 'b')]
  first.leave()
  await settled()
  assert.deepEqual(places([own, both, other]), [false, true, false])
  both.leave()
  await settled()
  assert.deepEqual(places([own, other]), [true, false])
})

test('a turn ends in time where somebody waits, one for each of them, and not where nobody does', async (t) => {
  const pass = clock(t)
  const line = new Slots({ places: 3, turnMs })
  const holders = ['a', 'b', 'c'].map((client) => new Guest(line, client).receive())
  await pass(10 * turnMs)
  assert.deepEqual(places(holders), [true, true, true])
  for (const holder of holders) holder.receive()
  const waiting = new Guest(line, 'd')
  await pass(turnMs)
  assert.deepEqual([places(holders), waiting.hasPlace], [[true, true, true], false])
  await pass(200)
  assert.deepEqual([places(holders), waiting.hasPlace], [[false, true, true], true])
  assert.deepEqual(holders[0]?.over, ['turn'])
})

test('a turn that nobody waits for ends at once, when it is left and when somebody comes', async (t) => {
  const pass = clock(t)
  const line = new Slots({ places: 2, turnMs })
  const [abandoned, left] = [new Guest(line), new Guest(line, 'a').receive()]
  const come = new Guest(line, 'b')
  await settled()
  assert.deepEqual([abandoned.over, come.hasPlace], [['unwanted'], true])
  const next = new Guest(line, 'c')
  await settled()
  assert.equal(next.hasPlace, false)
  left.clients.clear()
  await pass(250)
  assert.deepEqual([left.over, next.hasPlace], [['unwanted'], true])
})

test('what nobody waits for ends no turn of what somebody waits for', async (t) => {
  const pass = clock(t)
  const line = new Slots({ places: 1, turnMs })
  const holder = new Guest(line, 'a').receive()
  const abandoned = new Guest(line)
  await pass(10 * turnMs)
  assert.deepEqual([holder.over, abandoned.hasPlace], [[], false])
})

test('a client that has all places gives one to who has none after a fifth of a turn', async (t) => {
  const pass = clock(t)
  const line = new Slots({ places: 3, turnMs })
  const holders = [0, 1, 2].map(() => new Guest(line, 'a').receive())
  const [second, third] = [new Guest(line, 'b'), new Guest(line, 'b')]
  await pass(turnMs / 5 + 200)
  assert.deepEqual([places(holders), second.hasPlace, third.hasPlace], [[false, true, true], true, false])
  assert.deepEqual(holders[0]?.over, ['share'])
})

test('whoever has had nothing yet waits for a fifth of a turn, of whichever client; not with another place, nor for its second blob', async (t) => {
  const pass = clock(t)
  const line = new Slots({ places: 1, turnMs })
  const first = new Guest(line, 'a').receive()
  await pass(100)
  const [starved, more] = [new Guest(line, 'b'), new Guest(line, 'a')]
  starved.isStarved = true
  more.isStarved = true
  await pass(50)
  assert.deepEqual(first.over, [])
  await pass(300)
  assert.deepEqual(first.over, ['turn'])
  assert.deepEqual(places([starved, more]), [true, false])
  starved.receive()
  const fed = new Guest(line, 'c')
  more.leave()
  await pass(900)
  assert.deepEqual(starved.over, [], 'who has had bytes waits for a whole turn')
  await pass(350)
  assert.deepEqual([starved.over, fed.hasPlace], [['turn'], true])
})

test('the more wait, the shorter the turns, so that nobody waits for minutes; a fifth is the least', async (t) => {
  const pass = clock(t)
  for (const [waiting, leastMs, mostMs] of [
    [8, 950, 1300],
    [16, 450, 800],
    [100, 150, 500],
  ] as const) {
    const line = new Slots({ places: 1, turnMs })
    const first = new Guest(line, 'first').receive()
    for (let count = 0; count < waiting; count += 1) new Guest(line, `c${count}`)
    await pass(leastMs)
    assert.deepEqual(first.over, [], `${waiting} wait`)
    await pass(mostMs - leastMs)
    assert.deepEqual(first.over, ['turn'], `${waiting} wait`)
  }
})

test('a client to whom nothing is answered in all its places gives one to who has none after a fifth of the time', async (t) => {
  const pass = clock(t)
  const line = new Slots({ places: 3, turnMs, answerMs: 5 * turnMs })
  const silent = [0, 1, 2].map(() => new Guest(line, 'a'))
  const [one, other] = [new Guest(line, 'b'), new Guest(line, 'b')]
  await pass(turnMs - 50)
  assert.deepEqual(places(silent), [true, true, true])
  await pass(300)
  assert.deepEqual([places(silent), one.hasPlace, other.hasPlace], [[false, true, true], true, false])
  assert.deepEqual(silent[0]?.over, ['share'])
})

test('what trickles ends after a fifth of a turn; what has not answered yet is waited for', async (t) => {
  const pass = clock(t)
  const line = new Slots({ places: 2, turnMs, answerMs: 5 * turnMs })
  const [trickles, silent] = [new Guest(line, 'a').receive(10), new Guest(line, 'b')]
  const [one, other] = [new Guest(line, 'c'), new Guest(line, 'd')]
  await pass(turnMs / 5 + 200)
  assert.deepEqual([trickles.over, silent.over, one.hasPlace, other.hasPlace], [['trickle'], [], true, false])
  one.receive().keeps = ['turn']
  await pass(5 * turnMs)
  assert.deepEqual([silent.over, other.hasPlace], [['turn'], true])
})

test('what nobody takes keeps no place', async (t) => {
  const pass = clock(t)
  const line = new Slots({ places: 1, turnMs: 60_000 })
  const full = new Guest(line, 'a').receive()
  full.restingMs = 1001
  await pass(1000)
  assert.deepEqual(full.over, [])
  const abandoned = new Guest(line)
  await settled()
  assert.deepEqual([full.over, abandoned.hasPlace], [['resting'], true])
})

test('where one turn cannot end another one does, and what is worth least goes first', async (t) => {
  const pass = clock(t)
  const line = new Slots({ places: 3, turnMs })
  const [stuck, plain, resting] = ['a', 'b', 'c'].map((client) => new Guest(line, client).receive())
  assert.ok(stuck && plain && resting)
  stuck.keeps = ['turn']
  await pass(2 * turnMs)
  resting.restingMs = 2000
  const one = new Guest(line, 'd')
  await settled()
  assert.deepEqual(places([stuck, plain, resting, one]), [true, true, false, true])
  const other = new Guest(line, 'e')
  await settled()
  assert.deepEqual(places([stuck, plain, other]), [true, false, true])
  assert.deepEqual(stuck.over, ['turn'])
})

test('forty blobs that trickle, of one client and of forty: the first byte of another client is soon', async (t) => {
  const pass = clock(t)
  for (const client of [() => 'one', (n: number) => `client ${n}`]) {
    const line = new Slots({ places: 3, turnMs: 15_000 })
    const trickle = (n: number): void => {
      const guest = new Guest(line, client(n))
      const queueAgain = guest.end.bind(guest)
      guest.end = (why) => {
        queueMicrotask(() => trickle(n))
        return queueAgain(why)
      }
      const look = setInterval(() => {
        if (guest.hasPlace) guest.receivingSince ??= performance.now()
        if (guest.over.length > 0) clearInterval(look)
      }, 100)
      t.after(() => clearInterval(look))
    }
    for (let n = 0; n < 40; n += 1) trickle(n)
    await pass(5000)
    const other = new Guest(line, 'another')
    let ms = 0
    for (; !other.hasPlace && ms < 600_000; ms += 100) await pass(100)
    t.diagnostic(`after ${ms} ms`)
    assert.ok(ms <= (client(1) === 'one' ? 3500 : 45_000), `${ms} ms`)
  }
})

test('a place that is given back late counts as one that comes: no second turn ends for the same one', async () => {
  const line = new Slots({ places: 2, turnMs })
  const over: string[] = []
  const abandoned = (name: string): Turn => ({
    clients: [],
    background: 'ahead',
    receivingSince: 0,
    bytes: 0,
    restingMs: 0,
    end: () => over.push(name) > 0,
  })
  const late = [await line.take(abandoned('one')), await line.take(abandoned('other'))]
  const first = new Guest(line, 'a')
  await settled()
  assert.deepEqual([over, first.hasPlace], [['one'], false])
  const second = new Guest(line, 'b')
  await settled()
  assert.deepEqual(over, ['one', 'other'])
  const third = new Guest(line, 'c')
  for (const slot of late) slot[Symbol.dispose]()
  await settled()
  assert.deepEqual(places([first, second, third]), [true, true, false])
})

test('who leaves while it waits hears so at once', async () => {
  const line = new Slots({ places: 1, turnMs })
  const first = new Guest(line, 'a')
  const leaving = new AbortController()
  const waiting = line.take({ ...idle, clients: ['b'] }, leaving.signal)
  leaving.abort(new Error('left'))
  await assert.rejects(waiting, /left/)
  first.leave()
})

test('who leaves at the moment at which the place is given passes it on', async () => {
  for (const isGivenFirst of [true, false]) {
    const line = new Slots({ places: 1, turnMs })
    const first = new Guest(line, 'a')
    const [leaving, next] = [new Guest(line, 'b'), new Guest(line, 'c')]
    await settled()
    for (const one of isGivenFirst ? [first, leaving] : [leaving, first]) one.leave()
    await settled()
    assert.equal(next.hasPlace, true)
  }
})

test('a place that is given back twice is one place; nobody who has left takes one', async () => {
  const line = new Slots({ places: 1, turnMs })
  await assert.rejects(line.take(idle, AbortSignal.abort(new Error('left'))), /left/)
  const slot = await line.take(idle)
  slot[Symbol.dispose]()
  slot[Symbol.dispose]()
  const guests = [new Guest(line, 'a'), new Guest(line, 'b')]
  await settled()
  assert.deepEqual(places(guests), [true, false])
})

test('nothing looks after a line for which nobody waits', async (t) => {
  clock(t)
  const line = new Slots({ places: 1, turnMs })
  const [first, second] = [new Guest(line, 'a'), new Guest(line, 'b')]
  const clear = t.mock.method(globalThis, 'clearInterval')
  await settled()
  assert.equal(clear.mock.callCount(), 0)
  first.leave()
  await settled()
  assert.deepEqual([second.hasPlace, clear.mock.callCount()], [true, 1])
})

test('two that rest do not end each other, and whoever has somebody who takes it ends one of them', async (t) => {
  clock(t)
  const line = new Slots({ places: 1, turnMs })
  const ended: string[] = []
  const resting = (client: string, restingMs: number): Turn => ({
    ...{ clients: [client], receivingSince: 0, bytes: 1_000_000, restingMs },
    end: () => {
      ended.push(client)
      return true
    },
  })
  const { signal } = new AbortController()
  using _one = await line.take(resting('a', 60_000), signal)
  void line.take(resting('b', 60_000), signal)
  await settled()
  assert.deepEqual(ended, [])
  void line.take(resting('c', 0), signal)
  await settled()
  assert.deepEqual(ended, ['a'])
})
