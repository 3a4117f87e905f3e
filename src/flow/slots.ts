import { abortable } from './abortable.ts'
import { givesWay, isResting, isSamePriority, priorityOf, rankOf, type Turn, type WhyOver } from './turn.ts'
import { type Sharer, Uplink } from './uplink.ts'

export type { Background, Priority, Turn, WhyOver } from './turn.ts'

export interface SlotsOptions {
  /** Turns at a time. */
  readonly places: number
  /** Milliseconds of bytes after which a turn is over where others wait. */
  readonly turnMs: number
  /** Milliseconds after which a turn that has brought no byte yet is over where others wait. */
  readonly answerMs?: number
  /** The line, where it is shared with other slots. */
  readonly uplink?: Uplink
}

interface Holder {
  readonly turn: Turn
  readonly takenAt: number
  /** When somebody was last seen to wait for it, in milliseconds of `performance.now()`; undefined: never. */
  wantedAt: number | undefined
  /** To whom the place is charged. */
  client: string | undefined
  /** It was told that its turn is over, and gives its place back. */
  isEnding: boolean
}

interface Waiting {
  readonly turn: Turn
  readonly given: PromiseWithResolvers<Holder>
}

/** How good a claim is: compared from the left, less goes first. */
type Claim = readonly [rank: number, held: number, lastServed: number]

const defaultAnswerMs = 15_000
/**
 * The part of a turn after which it is over for somebody who has less than his share, or nothing so far, or if it is next to
 * none.
 */
const shortTurn = 1 / 5
/** Of turns that somebody waits for his next one: as many as wait, each is shorter. */
const longestWait = 8
/** Bytes per second that are next to nothing. */
const trickle = 1024
const reviewMs = 250
/** The same while a place is free, and nobody is at hand who may have it: somebody may come to what waits. */
const pausedReviewMs = 50
/** Milliseconds for which what clients have left may go on beside others: many leave to come back with the next range. */
const lingerMs = 1000
/** Clients of whom is known when they were served last. */
const maximumServed = 1000

/**
 * The turns on a line, so many at a time. What somebody waits for goes before what nobody waits for, and first
 * connections before further ones; then whoever has the fewest places, or was served longest ago; then who came first.
 * Where all places are taken and somebody waits, a turn ends in time, and at once where it keeps the line from somebody
 * better. What nobody waits for, save what is fetched ahead of them, has no turn at all beside anything better.
 */
export class Slots implements Sharer {
  readonly #options: Required<SlotsOptions>
  readonly #holders = new Set<Holder>()
  /** In the order in which they came. */
  readonly #waiting = new Set<Waiting>()
  /** Which place, counted from the first one, each client was given last. */
  readonly #served = new Map<string, number>()
  #given = 0

  constructor(options: SlotsOptions) {
    this.#options = { answerMs: defaultAnswerMs, uplink: new Uplink(), ...options }
  }

  /** Takes a place, or waits for one; it is to be given back once. Rejects with the reason of `signal` when it aborts. */
  async take(turn: Turn, signal?: AbortSignal): Promise<Disposable> {
    signal?.throwIfAborted()
    const waiting: Waiting = { turn, given: Promise.withResolvers() }
    this.#waiting.add(waiting)
    this.#changed()
    // If a turn is over for it, its place may go to somebody better; for those it was over before.
    if (this.#waiting.has(waiting) && this.#mayRun(turn) && this.#hasMoreWaiting()) this.#endOneFor(turn)
    try {
      const holder = await abortable(waiting.given.promise, signal)
      return { [Symbol.dispose]: () => this.#giveBack(holder) }
    } catch (error) {
      // 1. a place is given to this one; 2. its signal aborts before it has woken: the place goes on to the next one.
      if (this.#waiting.delete(waiting)) this.#changed()
      else this.#giveBack(await waiting.given.promise)
      throw error
    }
  }

  get turnCount(): number {
    return this.#holders.size + this.#waiting.size
  }

  get best(): number {
    let best = Number.POSITIVE_INFINITY
    for (const turns of [this.#holders, this.#waiting]) {
      for (const { turn } of turns) {
        if (!isResting(turn)) best = Math.min(best, priorityOf(turn))
        if (best === 0) return best
      }
    }
    return best
  }

  get reviewMs(): number {
    const ms = this.#free > 0 && this.#waiting.size > 0 ? pausedReviewMs : reviewMs
    return Math.max(1, Math.min(ms, this.#options.turnMs * shortTurn))
  }

  /** Gives free places to those who may have them, and ends turns that have to give way. */
  adapt(): void {
    while (this.#free > 0) {
      const next = this.#next()
      if (!next) break
      this.#waiting.delete(next)
      next.given.resolve(this.#give(next.turn))
    }
    const { best } = this.#options.uplink
    const now = performance.now()
    for (const holder of this.#holders) {
      const priority = priorityOf(holder.turn)
      if (priority === 0) holder.wantedAt = now
      if (holder.isEnding || !givesWay(priority) || priority <= best) continue
      if (holder.wantedAt === undefined || now - holder.wantedAt > lingerMs) end(holder, 'unwanted', false)
    }
  }

  /** Ends turns that are over, as many as are needed. */
  review(): void {
    this.adapt()
    // The first ones get the places that are about to be given back.
    for (const { turn } of this.#queue().slice(this.#endingCount)) if (!this.#endOneFor(turn)) return
  }

  #changed(): void {
    this.#options.uplink.changed(this)
  }

  get #free(): number {
    return this.#options.places - this.#holders.size
  }

  /** Whether it may have a place beside what is at work. */
  #mayRun(turn: Turn): boolean {
    const priority = priorityOf(turn)
    return !givesWay(priority) || priority <= this.#options.uplink.best
  }

  /** Whether more wait, who may have a place, than places are about to be given back. */
  #hasMoreWaiting(): boolean {
    let left = this.#endingCount
    for (const { turn } of this.#waiting) {
      if (!this.#mayRun(turn)) continue
      if (left === 0) return true
      left -= 1
    }
    return false
  }

  #give(turn: Turn): Holder {
    const client = this.#best(turn, this.#held()).client
    const takenAt = performance.now()
    const wantedAt = priorityOf(turn) === 0 ? takenAt : undefined
    const holder: Holder = { turn, takenAt, wantedAt, client, isEnding: false }
    this.#holders.add(holder)
    this.#given += 1
    if (client !== undefined) {
      this.#served.delete(client)
      this.#served.set(client, this.#given)
      const [oldest] = this.#served.keys()
      if (this.#served.size > maximumServed && oldest !== undefined) this.#served.delete(oldest)
    }
    return holder
  }

  /** The place goes to whoever is next without ever being free: nobody who comes now gets in between. */
  #giveBack(holder: Holder): void {
    if (this.#holders.delete(holder)) this.#changed()
  }

  get #endingCount(): number {
    let count = 0
    for (const { isEnding } of this.#holders) if (isEnding) count += 1
    return count
  }

  /**
   * Whether it has what it needs: a turn that could be ended for it was. What rests needs none: two that rest would end each
   * other's in turn, for ever and at once.
   */
  #endOneFor(turn: Turn): boolean {
    if (isResting(turn)) return true
    const held = this.#held()
    const { claim } = this.#best(turn, held)
    const lastsMs = this.#turnMs(turn, claim)
    const over = [...this.#holders].flatMap((holder) => {
      const why = holder.isEnding ? undefined : this.#whyOver(holder, claim, held, lastsMs)
      return why === undefined ? [] : [{ holder, why, weight: weightOf(why, holder, held) }]
    })
    return over
      .toSorted((a, b) => compare(a.weight, b.weight))
      .some(({ holder, why }) => end(holder, why, hasMore(holder, claim, held)))
  }

  /** Milliseconds of bytes that a turn has beside one who waits: clients give up that get none for minutes. */
  #turnMs({ isStarved }: Turn, [, held]: Claim): number {
    const { turnMs, places } = this.#options
    const ms = isStarved && held === 0 ? 0 : (longestWait * turnMs * places) / this.#waiting.size
    return Math.min(turnMs, Math.max(turnMs * shortTurn, ms))
  }

  #whyOver(
    holder: Holder,
    claim: Claim,
    heldBy: ReadonlyMap<string, number>,
    bytesMs: number,
  ): WhyOver | undefined {
    const { turnMs, answerMs } = this.#options
    const { turn, takenAt } = holder
    const [rank] = claim
    const now = performance.now()
    if (isResting(turn)) return 'resting'
    const own = rankOf(turn)
    if (own > rank) return isSamePriority(own, rank) ? 'further' : 'unwanted'
    if (own < rank) return undefined
    const isReceiving = turn.receivingSince !== undefined
    const ms = now - (turn.receivingSince ?? takenAt)
    if (ms > (isReceiving ? bytesMs : answerMs)) return 'turn'
    if (ms < (isReceiving ? turnMs : answerMs) * shortTurn) return undefined
    if (isReceiving && turn.bytes < (trickle * ms) / 1000) return 'trickle'
    return hasMore(holder, claim, heldBy) ? 'share' : undefined
  }

  /** Those who wait and may have a place, the next one first. */
  #queue(): Waiting[] {
    return this.#claims()
      .toSorted((a, b) => compare(a.claim, b.claim))
      .map(({ waiting }) => waiting)
  }

  #next(): Waiting | undefined {
    const claims = this.#claims()
    if (claims.length === 0) return undefined
    return claims.reduce((one, other) => (compare(other.claim, one.claim) < 0 ? other : one)).waiting
  }

  #claims(): { waiting: Waiting; claim: Claim }[] {
    const held = this.#held()
    const { best } = this.#options.uplink
    return [...this.#waiting].flatMap((waiting) => {
      const priority = priorityOf(waiting.turn)
      if (givesWay(priority) && priority > best) return []
      return [{ waiting, claim: this.#best(waiting.turn, held).claim }]
    })
  }

  /** The best claim of several clients to the same turn, and whose it is. */
  #best(turn: Turn, held: ReadonlyMap<string, number>) {
    const rank = rankOf(turn)
    let best: { client: string | undefined; claim: Claim } | undefined
    for (const client of turn.clients) {
      const claim: Claim = [rank, held.get(client) ?? 0, this.#served.get(client) ?? 0]
      if (!best || compare(claim, best.claim) < 0) best = { client, claim }
    }
    return best ?? { client: undefined, claim: [rank, 0, 0] as const }
  }

  /** How many places each client has that are not about to be given back. */
  #held(): ReadonlyMap<string, number> {
    const held = new Map<string, number>()
    for (const holder of this.#holders) {
      if (holder.isEnding) continue
      const clients = [...holder.turn.clients]
      // Somebody else may wait for it by now.
      if (holder.client === undefined || !clients.includes(holder.client)) holder.client = clients[0]
      if (holder.client !== undefined) held.set(holder.client, (held.get(holder.client) ?? 0) + 1)
    }
    return held
  }
}

/** Tells a turn that it is over. Returns whether its place is given back. */
function end(holder: Holder, why: WhyOver, isRich: boolean): boolean {
  holder.isEnding = true
  holder.isEnding = holder.turn.end(why, isRich)
  return holder.isEnding
}

function hasMore({ client }: Holder, [, held]: Claim, heldBy: ReadonlyMap<string, number>): boolean {
  return client !== undefined && (heldBy.get(client) ?? 0) - held > 1
}

function compare(one: Claim, other: Claim): number {
  return one[0] - other[0] || one[1] - other[1] || one[2] - other[2]
}

/** What is worth least ends first; of several the worst one, or one of whoever has most. */
function weightOf(why: WhyOver, { turn, client }: Holder, heldBy: ReadonlyMap<string, number>): Claim {
  const order: readonly WhyOver[] = ['unwanted', 'resting', 'further', 'trickle', 'turn', 'share']
  return [order.indexOf(why), -rankOf(turn), -((client !== undefined && heldBy.get(client)) || 0)]
}
