/** The three services that a pull from Docker Hub talks to. */
export type HubListener = 'registry' | 'token' | 'cdn'

/** What a fault or a hold applies to; a field that is left out matches everything. */
export type FaultMatcher = {
  readonly listener?: HubListener
  readonly method?: string
  /** Tested against the request's path and query. */
  readonly path?: RegExp
  /** The digest in the request's path: of a blob (at the registry and at the CDN), or of a manifest. */
  readonly digest?: string
  /** Who asks: with the login or the token of an account, or without. */
  readonly caller?: HubCaller
}

export type HubCaller = 'anyone' | 'account'

/**
 * What goes wrong with a response. Fields combine, and so do several faults that match one request.
 * A fault with any of the fields on content waits for a response that carries content: it passes over
 * challenges, redirects to the CDN and, where it is about the body, answers to HEAD.
 */
export type Fault = {
  // The whole response.
  /** Accepts the request and never answers it. */
  readonly stallBeforeHeaders?: boolean
  /** Answers this status with the body that such a service sends: JSON below 500, an HTML page from 500. */
  readonly status?: number
  /** Together with `status`: the Retry-After header, in seconds or as a date, and the body. */
  readonly retryAfter?: string | number
  readonly body?: string
  /** Answers 401 with a Bearer challenge that names this realm. */
  readonly realm?: string
  /** Answers 401 with these WWW-Authenticate headers. */
  readonly challenges?: readonly string[]
  /** Answers 307 to this address, taken literally. */
  readonly redirectTo?: string
  /** Answers 307 to the same path, for ever. */
  readonly redirectLoop?: boolean
  /** Sets headers, replacing those of the same name: Set-Cookie, Content-Encoding and the like. */
  readonly headers?: Readonly<Record<string, string | readonly string[]>>

  // Content: its headers.
  readonly contentType?: string
  readonly dockerContentDigest?: string
  /** A wrong Content-Length, or none at all ("none": chunked). */
  readonly contentLength?: number | 'none'
  /** Answers 200 with the whole content where a range is asked for. */
  readonly ignoreRange?: boolean
  /** The Content-Range header of a 206, taken literally. */
  readonly contentRange?: string
  /** Another total size in the Content-Range of a 206, in bytes. */
  readonly totalSize?: number

  // Content: its body. "After" counts bytes of this body; "at" and "every" are offsets in the whole content.
  /** Breaks the connection after this many bytes. */
  readonly cutAfter?: number
  /** Breaks the connection at each multiple of this many bytes. */
  readonly cutEvery?: number
  /** A reset, sent once the peer's kernel has all bytes before it (the default), or an early end. */
  readonly cutWith?: 'rst' | 'fin'
  /** Sends this many bytes and then nothing more; the connection stays open. */
  readonly stallAfter?: number
  /** Changes one bit of the byte at this offset. */
  readonly flipAt?: number
  /** Ends the connection this many bytes early, after a right Content-Length. */
  readonly shortBy?: number
  /** Sends this many bytes too many; Content-Length stays right unless it is set too. */
  readonly longerBy?: number
  /** A body without end, chunked. */
  readonly endless?: boolean
  readonly bytesPerSecond?: number
}

/** An active fault. */
export type FaultHandle = Disposable & {
  /** How many responses it has changed. */
  readonly hits: number
  remove(): void
}

/** A gate in matching responses. Disposing of it lets them go, too. */
export type Hold = Disposable & {
  /** Resolves when the first response waits at the gate. */
  readonly reached: Promise<void>
  /** How many responses wait now. */
  readonly waiting: number
  /** Lets every waiting response go on, and all later ones pass. */
  release(): void
}

/** What faults need to know of a request. */
export type FaultSubject = {
  readonly listener: HubListener
  readonly method: string
  readonly url: string
  readonly digest: string | undefined
  readonly caller: HubCaller
}

/** The moment in a response at which faults are looked up. */
export type FaultPhase = 'request' | 'content'

const bodyFields = [
  ...['cutAfter', 'cutEvery', 'stallAfter', 'flipAt', 'shortBy', 'longerBy', 'endless', 'bytesPerSecond'],
] as readonly (keyof Fault)[]
const contentFields: readonly (keyof Fault)[] = [
  ...bodyFields,
  ...(['contentType', 'dockerContentDigest', 'contentLength'] as const),
  ...(['ignoreRange', 'contentRange', 'totalSize'] as const),
]

type Entry = { matcher: FaultMatcher; fault: Fault; next: Fault[]; left: number; hits: number }

/** A gate at an offset in bytes of the content, or before the headers (`undefined`). */
export class Gate implements Hold {
  readonly matcher: FaultMatcher
  readonly offset: number | undefined
  readonly #reached = Promise.withResolvers<void>()
  readonly #released = Promise.withResolvers<void>()
  #open = false
  #waiting = 0

  constructor(matcher: FaultMatcher, offset: number | undefined) {
    this.matcher = matcher
    this.offset = offset
  }

  get reached(): Promise<void> {
    return this.#reached.promise
  }

  get waiting(): number {
    return this.#waiting
  }

  get isOpen(): boolean {
    return this.#open
  }

  /** Waits until the gate opens, or until `closed` settles. */
  async pass(closed: Promise<void>): Promise<void> {
    if (this.#open) return
    this.#waiting += 1
    this.#reached.resolve()
    await Promise.race([this.#released.promise, closed])
    this.#waiting -= 1
  }

  release(): void {
    this.#open = true
    this.#released.resolve()
  }

  [Symbol.dispose](): void {
    this.release()
  }
}

/** The faults and gates that are active at a look-alike. */
export class FaultBook {
  readonly #entries = new Set<Entry>()
  readonly #gates = new Set<Gate>()

  /**
   * Adds a fault for the next `times` matching responses; without `times`, until it is removed. Of several each one is for
   * one response, in their order.
   */
  add(matcher: FaultMatcher, faults: Fault | readonly Fault[], times?: number): FaultHandle {
    const isOne = !Array.isArray(faults)
    const [fault = {}, ...next] = isOne ? [faults as Fault] : (faults as readonly Fault[])
    const entry: Entry = {
      matcher,
      fault,
      next,
      left: isOne ? (times ?? Number.POSITIVE_INFINITY) : 1,
      hits: 0,
    }
    const remove = () => void this.#entries.delete(entry)
    this.#entries.add(entry)
    return {
      get hits() {
        return entry.hits
      },
      remove,
      [Symbol.dispose]: remove,
    }
  }

  addGate(matcher: FaultMatcher, offset?: number): Hold {
    const gate = new Gate(matcher, offset)
    this.#gates.add(gate)
    return gate
  }

  /** Removes all faults and opens all gates. */
  clear(): void {
    this.#entries.clear()
    for (const gate of this.#gates) gate.release()
    this.#gates.clear()
  }

  /** The faults of one phase that a request is due, merged; each counts as used. */
  take(subject: FaultSubject, phase: FaultPhase): Fault {
    let merged: Fault = {}
    for (const entry of this.#entries) {
      if (phaseOf(entry.fault) !== phase || !matches(entry.matcher, subject)) continue
      if (subject.method === 'HEAD' && bodyFields.some((field) => field in entry.fault)) continue
      merged = { ...merged, ...entry.fault }
      entry.hits += 1
      const next = entry.next.shift()
      if (next) entry.fault = next
      else entry.left -= 1
      if (entry.left <= 0) this.#entries.delete(entry)
    }
    return merged
  }

  /** The closed gates in a request's way. */
  gates(subject: FaultSubject, phase: FaultPhase): readonly Gate[] {
    return [...this.#gates].filter(
      (gate) =>
        !gate.isOpen &&
        (gate.offset === undefined) === (phase === 'request') &&
        matches(gate.matcher, subject),
    )
  }
}

function phaseOf(fault: Fault): FaultPhase {
  return contentFields.some((field) => field in fault) ? 'content' : 'request'
}

function matches(matcher: FaultMatcher, subject: FaultSubject): boolean {
  return (
    (matcher.listener === undefined || matcher.listener === subject.listener) &&
    (matcher.method === undefined || matcher.method === subject.method) &&
    (matcher.path === undefined || matcher.path.test(subject.url)) &&
    (matcher.digest === undefined || matcher.digest === subject.digest) &&
    (matcher.caller === undefined || matcher.caller === subject.caller)
  )
}
