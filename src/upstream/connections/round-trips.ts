import { LRUCache } from 'lru-cache'

/** What of one kind took how long, in milliseconds. */
interface Times {
  least: number
  /** Of the window before. */
  before: number
  since: number
}

interface Measured {
  readonly connecting?: Times
  readonly answering?: Times
}

/** Origins that are remembered; the least recently used are forgotten. */
const maximumOrigins = 64
/** Milliseconds. What a full line adds is in no minimum of one or two of these, and a line that got slower shows after two. */
const windowMs = 60_000
/** Milliseconds below which a connection opened early would cost more than it saves. */
const farMs = { connecting: 5, answering: 25 } as const

/**
 * How long a round trip to an origin takes: the least of the last minute or two. Something on the way may answer in place of
 * the other end when a connection is made (satellite modems do), so that answers count as well: the fastest of them.
 */
export class RoundTrips {
  readonly #origins = new LRUCache<string, Measured>({ max: maximumOrigins })

  /** A TCP handshake with it took so many milliseconds. */
  noteConnect(origin: string, ms: number): void {
    const measured = this.#origins.get(origin)
    this.#origins.set(origin, { ...measured, connecting: noted(measured?.connecting, ms) })
  }

  /** The head of an answer came so many milliseconds after the question went out on a connection that was there. */
  noteAnswer(origin: string, ms: number): void {
    const measured = this.#origins.get(origin)
    this.#origins.set(origin, { ...measured, answering: noted(measured?.answering, ms) })
  }

  /**
   * Whether a connection to it takes long enough to be worth opening before it is needed; undefined where nothing is known of it.
   * An answer may be slow for other reasons than the line.
   */
  isFar(origin: string): boolean | undefined {
    const { connecting, answering } = this.#origins.get(origin) ?? {}
    if (!connecting && !answering) return undefined
    const isFarBy = (times: Times | undefined, ms: number) => times !== undefined && leastOf(times) >= ms
    return isFarBy(connecting, farMs.connecting) || isFarBy(answering, farMs.answering)
  }

  /** Milliseconds; undefined where nothing is known of it. What it takes for an answer beside the line is part of it. */
  of(origin: string): number | undefined {
    const { connecting, answering } = this.#origins.get(origin) ?? {}
    const known = [connecting, answering].flatMap((times) => (times ? [leastOf(times)] : []))
    return known.length === 0 ? undefined : Math.max(...known)
  }
}

function noted(times: Times | undefined, ms: number): Times {
  const now = performance.now()
  if (!times) return { least: ms, before: Number.POSITIVE_INFINITY, since: now }
  if (now - times.since < windowMs) return { ...times, least: Math.min(times.least, ms) }
  return { least: ms, before: times.least, since: now }
}

function leastOf({ least, before }: Times): number {
  return Math.min(least, before)
}
