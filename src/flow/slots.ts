import { abortable } from './abortable.ts'

/**
 * For what a turn is, the best first: somebody waits for it; somebody will surely ask for it; it is refreshed or mended;
 * it is fetched beforehand; nobody waits for it any more.
 */
export type Priority = 'people' | 'ahead' | 'revalidation' | 'warming' | 'finishing'

/** The same, of what nobody waits for. */
export type Background = Exclude<Priority, 'people'>

/** What those who share a line out have to know of a turn on it. It is asked anew each time: clients come and go. */
export interface Turn {
  /** For whom it is; for nobody: it comes behind all that somebody waits for. */
  readonly clients: Iterable<string>
  /** For what it is while it is for nobody; `finishing` unless told. */
  readonly background?: Background | undefined
  /** Whether what it is for has another turn already. */
  readonly isFurther?: boolean
  /** Since when bytes come, in milliseconds of `performance.now()`; undefined: none has come yet. */
  readonly receivingSince: number | undefined
  /** Bytes that came. */
  readonly bytes: number
  /** Milliseconds for which those that it is for have taken nothing, so that nothing more can come. */
  readonly restingMs: number
  /**
   * Its turn is over, since somebody else waits; `hasMore`: its client has more than its share. Returns whether its place is
   * given back now, else it is kept.
   */
  end(why: WhyOver, hasMore: boolean): boolean
}

/**
 * Why a turn ends: `turn`: it had its time; `share`: its client has more than its share; the rest is worth less than any
 * other turn: `unwanted`: nobody waits for what it brings; `resting`: nobody takes it; `trickle`: it brings next to nothing.
 */
export type WhyOver = 'turn' | 'share' | 'unwanted' | 'resting' | 'trickle'

export interface SlotsOptions {
  /** Turns at a time. */
  readonly places: number
  /** Milliseconds of bytes after which a turn is over where others wait. */
  readonly turnMs: number
  /** Milliseconds after which a turn that has brought no byte yet is over where others wait. */
  readonly answerMs?: number
}

interface Holder {
  readonly turn: Turn
  readonly takenAt: number
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
/** The part of a turn after which it is over for somebody who has less than his share, or if it is next to none. */
const shortTurn = 1 / 5
/** Bytes per second that are next to nothing. */
const trickle = 1024
const restMs = 1000
const reviewMs = 250
/** Clients of whom is known when they were served last. */
const maximumServed = 1000

/**
 * The turns on a line, so many at a time. What somebody waits for goes before what nobody waits for; then whoever has
 * the fewest places, or was served longest ago; then who came first. Where all places are taken and somebody waits, a
 * turn ends in time, and at once where it keeps the line for nobody.
 */
export class Slots {
  readonly #options: Required<SlotsOptions>
  readonly #holders = new Set<Holder>()
  /** In the order in which they came. */
  readonly #waiting = new Set<Waiting>()
  /** Which place, counted from the first one, each client was given last. */
  readonly #served = new Map<string, number>()
  #given = 0
  #review: NodeJS.Timeout | undefined

  constructor(options: SlotsOptions) {
    this.#options = { answerMs: defaultAnswerMs, ...options }
  }

  /** Takes a place, or waits for one; it is to be given back once. Rejects with the reason of `signal` when it aborts. */
  async take(turn: Turn, signal?: AbortSignal): Promise<Disposable> {
    signal?.throwIfAborted()
    const holder =
      this.#holders.size < this.#options.places ? this.#give(turn) : await this.#wait(turn, signal)
    return { [Symbol.dispose]: () => this.#giveBack(holder) }
  }

  async #wait(turn: Turn, signal: AbortSignal | undefined): Promise<Holder> {
    const waiting: Waiting = { turn, given: Promise.withResolvers() }
    this.#waiting.add(waiting)
    // If a turn is over for it, its place may go to somebody better; for those it was over before.
    if (this.#endingCount < this.#waiting.size) this.#endOneFor(turn)
    // Clients come and go, and time passes, without a word to anybody here.
    this.#review ??= setInterval(() => this.#look(), this.#reviewMs).unref()
    try {
      return await abortable(waiting.given.promise, signal)
    } catch (error) {
      // 1. a place is given to this one; 2. its signal aborts before it has woken: the place goes on to the next one.
      if (!this.#waiting.delete(waiting)) this.#giveBack(await waiting.given.promise)
      throw error
    } finally {
      if (this.#waiting.size === 0) {
        clearInterval(this.#review)
        this.#review = undefined
      }
    }
  }

  get #reviewMs(): number {
    return Math.max(1, Math.min(reviewMs, this.#options.turnMs * shortTurn))
  }

  #give(turn: Turn): Holder {
    const client = this.#best(turn.clients, this.#held()).client
    const holder: Holder = { turn, takenAt: performance.now(), client, isEnding: false }
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
    if (!this.#holders.delete(holder)) return
    const next = this.#next()
    if (!next) return
    this.#waiting.delete(next)
    next.given.resolve(this.#give(next.turn))
  }

  /** Ends turns that are over, as many as are needed. */
  #look(): void {
    // The first ones get the places that are about to be given back.
    for (const { turn } of this.#queue().slice(this.#endingCount)) if (!this.#endOneFor(turn)) return
  }

  get #endingCount(): number {
    let count = 0
    for (const { isEnding } of this.#holders) if (isEnding) count += 1
    return count
  }

  #endOneFor(turn: Turn): boolean {
    const held = this.#held()
    const claim = this.#best(turn.clients, held).claim
    const over = [...this.#holders].flatMap((holder) => {
      const why = holder.isEnding ? undefined : this.#whyOver(holder, claim, held)
      return why === undefined ? [] : [{ holder, why, weight: weightOf(why) }]
    })
    for (const { holder, why } of over.toSorted((a, b) => a.weight - b.weight)) {
      holder.isEnding = true
      if (holder.turn.end(why, hasMore(holder, claim, held))) return true
      holder.isEnding = false
    }
    return false
  }

  #whyOver(holder: Holder, claim: Claim, heldBy: ReadonlyMap<string, number>): WhyOver | undefined {
    const { turnMs, answerMs } = this.#options
    const { turn, takenAt } = holder
    const [rank] = claim
    const now = performance.now()
    if (turn.restingMs > restMs) return 'resting'
    const own = rankOf(turn)
    if (own > rank) return 'unwanted'
    if (own < rank) return undefined
    const isReceiving = turn.receivingSince !== undefined
    const ms = now - (turn.receivingSince ?? takenAt)
    const lastsMs = isReceiving ? turnMs : answerMs
    if (ms > lastsMs) return 'turn'
    if (ms < lastsMs * shortTurn) return undefined
    if (isReceiving && turn.bytes < (trickle * ms) / 1000) return 'trickle'
    return hasMore(holder, claim, heldBy) ? 'share' : undefined
  }

  /** Those who wait, the next one first. */
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
    return [...this.#waiting].map((waiting) => ({
      waiting,
      claim: this.#best(waiting.turn.clients, held).claim,
    }))
  }

  /** The best claim of several clients to the same turn, and whose it is. */
  #best(clients: Iterable<string>, held: ReadonlyMap<string, number>) {
    let best: { client: string | undefined; claim: Claim } = { client: undefined, claim: [1, 0, 0] }
    for (const client of clients) {
      const claim: Claim = [0, held.get(client) ?? 0, this.#served.get(client) ?? 0]
      if (compare(claim, best.claim) < 0) best = { client, claim }
    }
    return best
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

function hasMore({ client }: Holder, [, held]: Claim, heldBy: ReadonlyMap<string, number>): boolean {
  return client !== undefined && (heldBy.get(client) ?? 0) - held > 1
}

function rankOf({ clients }: Turn): number {
  for (const _ of clients) return 0
  return 1
}

function compare(one: Claim, other: Claim): number {
  return one[0] - other[0] || one[1] - other[1] || one[2] - other[2]
}

/** What is worth least ends first. */
function weightOf(why: WhyOver): number {
  return ['unwanted', 'resting', 'trickle', 'turn', 'share'].indexOf(why)
}
