import type { Logger } from 'pino'
import { backoffMs } from '../flow/backoff.ts'
import { bestEffort } from '../flow/best-effort.ts'
import { IntervalJob } from '../flow/interval-job.ts'
import { tellSeldom } from '../flow/seldom.ts'
import type { Catalog } from '../storage/catalog.ts'
import { nameOf, originOf, type RepositoryKey } from '../storage/repository-key.ts'
import type { Wanted as WantedThing, Wish } from '../storage/wishes.ts'
import { UpstreamError } from '../upstream/error.ts'

/**
 * What became of a wish. later: nothing yet, or not all of it; after so many seconds at the earliest, if that is known, and
 * then where its upstream limits us, which is nothing about the wish. reserved: only the last pulls are left.
 */
export type Fulfilment =
  | { readonly is: 'had' }
  | { readonly is: 'refused' }
  | { readonly is: 'reserved' }
  | {
      readonly is: 'later' | 'limited'
      readonly reason: string
      readonly retryAfterSeconds?: number | undefined
    }

/** An upstream, as far as what is wanted of it goes. */
export interface WantedUpstream {
  readonly name: string
  readonly isSilent: boolean
  /** `isReserved`: only the last pulls are left, which are for people (`limits.reserve`). */
  readonly limits: { readonly isReserved: boolean }
}

export interface WantedOptions {
  readonly catalog: Pick<Catalog, 'wish' | 'unwish' | 'wishes'>
  readonly upstreams: readonly WantedUpstream[]
  /** Fetches something, as for nobody who waits. Rejects with the reason of `signal` alone. */
  readonly fetch: (wish: Wish, signal: AbortSignal) => Promise<Fulfilment>
  readonly logger: Logger
  /** Milliseconds after the return of an upstream within which the first is fetched: many mirrors have lost it together. */
  readonly spreadMs?: number | undefined
  /** Milliseconds between two looks whether something is due. */
  readonly everyMs?: number | undefined
  readonly random?: (() => number) | undefined
}

/** Wishes; the oldest go. */
const maximumWishes = 1000
/** Milliseconds after which nobody waits for it any more. */
const forgottenAfterMs = 7 * 24 * 60 * 60_000
/** Milliseconds in which a wish is not written again. */
const noteEveryMs = 60_000
const defaultSpreadMs = 60_000
const defaultEveryMs = 1000
/** Milliseconds between two of them, at most. */
const pauseMs = 500
/** Milliseconds until one that failed is tried again, at first and at most. */
const [firstRetryMs, longestRetryMs] = [60_000, 60 * 60_000]

/** Who wants something, and for which machine. */
interface WantedBy {
  readonly platform?: string | undefined
  readonly client?: string | undefined
}

/** A wish, and how often it has been tried. */
interface Open extends Wish {
  readonly tries: number
  /** Who asked for it last; empty: the mirror, or somebody before the start. */
  readonly client: string
}

/**
 * What clients asked for and could not have while its upstream was out of reach: remembered, also over a restart, and
 * fetched when the upstream is back, one after the other and behind all that somebody waits for. Dispose to stop.
 */
export class Wanted implements AsyncDisposable {
  readonly #options: WantedOptions
  readonly #wishes = new Map<string, Open>()
  /** By upstream: since it is there (again), when something of it may be fetched, in monotonic milliseconds. */
  readonly #readyAt = new Map<string, number>()
  readonly #job: IntervalJob
  #isLoaded = false
  readonly #fulfilled = new Map<string, number>()

  constructor(options: WantedOptions) {
    this.#options = options
    const { everyMs = defaultEveryMs, logger } = options
    this.#job = new IntervalJob((signal) => this.round(signal), {
      intervalMs: everyMs,
      onError: (err) =>
        tellSeldom(logger, 'error', { err }, 'what is wanted could not be fetched: trying later'),
    })
  }

  /** How much is wanted, by the name of its upstream. */
  get counts(): ReadonlyMap<string, number> {
    const counts = new Map(this.#options.upstreams.map(({ name }) => [name, 0]))
    for (const { repository } of this.#wishes.values()) {
      const origin = originOf(repository)
      counts.set(origin, (counts.get(origin) ?? 0) + 1)
    }
    return counts
  }

  /** What was wanted and fetched since the start, by the name of its upstream. */
  get fulfilled(): ReadonlyMap<string, number> {
    return this.#fulfilled
  }

  /** Fetches what is wanted from now on, also what an earlier process could not. */
  start(): void {
    this.#job.start()
  }

  /** Somebody asked for it, and it could not be had because of this. What nobody can fetch later is not remembered. */
  failed(wanted: WantedThing, error: unknown, by: WantedBy = {}): void {
    if (!isFetchedLater(error)) return
    const dueInMs = Math.min((error.retryAfterSeconds ?? 0) * 1000, longestRetryMs)
    this.note(wanted, { ...by, dueInMs })
  }

  /** Somebody wants it. */
  note(
    { repository, reference, kind }: WantedThing,
    { platform, client = '', dueInMs = 0 }: WantedBy & { readonly dueInMs?: number } = {},
  ): void {
    const now = Date.now()
    const key = keyOf({ repository, reference, kind })
    const known = this.#wishes.get(key)
    if (known && Math.abs(now - known.askedAt) < noteEveryMs) return
    const wish = {
      repository,
      reference,
      kind,
      platform: platform ?? known?.platform,
      client,
      askedAt: now,
      dueAt: known?.dueAt ?? now + dueInMs,
      tries: known?.tries ?? 0,
    }
    // At the end, as the last one that was wanted.
    this.#wishes.delete(key)
    this.#wishes.set(key, wish)
    while (this.#wishes.size > maximumWishes) this.#dropOne()
    void this.#write(wish)
    if (!known) {
      const message = 'could not be had: it is fetched when the upstream answers again'
      this.#options.logger.info(aboutOf(wish), message)
    }
  }

  /** The oldest wish of the client that has most of them goes: names are made up easily. */
  #dropOne(): void {
    const counts = new Map<string, number>()
    for (const { client } of this.#wishes.values()) counts.set(client, (counts.get(client) ?? 0) + 1)
    const most = Math.max(...counts.values())
    for (const [key, { client }] of this.#wishes) {
      if (counts.get(client) !== most) continue
      this.#wishes.delete(key)
      return
    }
  }

  /** Fetches what is due, of all upstreams that are there. */
  async round(signal: AbortSignal): Promise<void> {
    await this.#load()
    await Promise.all(this.#options.upstreams.map((upstream) => this.#fetchOf(upstream, signal)))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#job[Symbol.asyncDispose]()
  }

  /** What an earlier process could not fetch. */
  async #load(): Promise<void> {
    if (this.#isLoaded) return
    const [here, kept] = [[...this.#wishes], await this.#options.catalog.wishes()]
    this.#isLoaded = true
    this.#wishes.clear()
    for (const wish of kept) this.#wishes.set(keyOf(wish), { ...wish, tries: 0, client: '' })
    for (const [key, wish] of here) this.#wishes.set(key, wish)
  }

  async #fetchOf(upstream: WantedUpstream, signal: AbortSignal): Promise<void> {
    const { spreadMs = defaultSpreadMs, random = Math.random } = this.#options
    const { name } = upstream
    for (;;) {
      signal.throwIfAborted()
      const wish = this.#due(upstream)
      if (!wish || upstream.isSilent) {
        // When it is back all those wake up that have lost it at the same moment.
        if (upstream.isSilent) this.#readyAt.delete(name)
        return
      }
      const now = performance.now()
      const readyAt = this.#readyAt.get(name) ?? now + spreadMs * random()
      this.#readyAt.set(name, readyAt)
      if (now < readyAt) return
      const isDone = await this.#fulfil(wish, signal)
      if (!isDone) return
      this.#readyAt.set(name, performance.now() + Math.min(pauseMs, spreadMs) * random())
    }
  }

  /** The first of an upstream that may be tried; those that are too old go. */
  #due({ name, limits }: WantedUpstream): Open | undefined {
    const now = Date.now()
    for (const wish of this.#wishes.values()) {
      if (originOf(wish.repository) !== name) continue
      if (now - wish.askedAt > forgottenAfterMs) {
        this.#forget(wish, 'was not to be had for a week: nobody is taken to wait for it any more')
        continue
      }
      // Pulls come back when their quota says so, or sooner, as the next answer to anybody tells. Blobs are none.
      if (wish.kind === 'manifest' && limits.isReserved) continue
      // A clock that was set may have put it off for years.
      if (wish.dueAt <= now || wish.dueAt > now + 2 * longestRetryMs) return wish
    }
    return undefined
  }

  /** False where nothing more is to be tried of its upstream for now. */
  async #fulfil(wish: Open, signal: AbortSignal): Promise<boolean> {
    const { fetch, spreadMs = defaultSpreadMs, random = Math.random } = this.#options
    const outcome = await fetch(wish, signal)
    signal.throwIfAborted()
    if (outcome.is === 'had') {
      const origin = originOf(wish.repository)
      this.#fulfilled.set(origin, (this.#fulfilled.get(origin) ?? 0) + 1)
      this.#forget(wish, 'is here now: it was asked for while its upstream could not be reached')
      return true
    }
    if (outcome.is === 'refused') {
      this.#forget(wish, 'was asked for while its upstream could not be reached, and is not to be had there')
      return true
    }
    if (outcome.is === 'reserved') {
      this.#readyAt.set(originOf(wish.repository), performance.now() + spreadMs * random())
      return false
    }
    const { reason, retryAfterSeconds = 0 } = outcome
    const isLimited = outcome.is === 'limited' && retryAfterSeconds > 0
    const tries = isLimited ? wish.tries : wish.tries + 1
    const backoff = isLimited
      ? spreadMs * random()
      : backoffMs(tries, { firstMs: firstRetryMs, capMs: longestRetryMs, random })
    const waitMs = Math.round(Math.min(Math.max(backoff, retryAfterSeconds * 1000), longestRetryMs))
    const later = { ...wish, tries, dueAt: Date.now() + waitMs }
    this.#wishes.set(keyOf(wish), later)
    void this.#write(later)
    this.#options.logger.debug({ ...aboutOf(wish), reason }, 'is not to be had yet')
    // The others would meet the same, and its limit is for people.
    this.#readyAt.set(originOf(wish.repository), performance.now() + (retryAfterSeconds > 0 ? waitMs : 0))
    return false
  }

  #forget(wish: Open, why: string): void {
    const { catalog, logger } = this.#options
    this.#wishes.delete(keyOf(wish))
    void bestEffort(catalog.unwish(wish), (err) => this.#unwritten(err))
    logger.info(aboutOf(wish), why)
  }

  async #write({ tries: _, client: _client, ...wish }: Open): Promise<void> {
    await bestEffort(this.#options.catalog.wish(wish, maximumWishes), (err) => this.#unwritten(err))
  }

  #unwritten(err: unknown): void {
    const message = 'the catalog could not be written: what is wanted is remembered until the next stop'
    tellSeldom(this.#options.logger, 'error', { err }, message)
  }
}

/** Whether it may be had later: its upstream could not be reached, was ill, or had given as much as it does for now. */
function isFetchedLater(error: unknown): error is UpstreamError {
  return (
    error instanceof UpstreamError && error.isOutage && error.code !== 'CROWDED' && error.code !== 'RESERVED'
  )
}

function keyOf({ repository, reference, kind }: WantedThing): string {
  return `${kind} ${repository} ${reference}`
}

function aboutOf({ repository, reference, kind }: WantedThing): object {
  const about = { upstream: originOf(repository), repository: nameOf(repository as RepositoryKey) }
  return kind === 'blob' ? { ...about, digest: reference } : { ...about, reference }
}
