/** One connection at work for a blob. */
export interface Lane extends Disposable {
  /** So many bytes have come by it. */
  received(bytes: number): void
}

export interface RampOptions {
  /** Connections at a time, for all blobs together (`limits.connections`). */
  readonly maximum: number
}

interface Sample {
  readonly lanes: number
  /** Bytes a second, of all of them together. */
  readonly rate: number
}

/** The part of what a further connection would bring if nothing but connections were short, for which it is kept. */
const worthwhileGain = 0.15
/** The same, from which on nothing but connections is short: more are tried at once. */
const fullGain = 0.7
/** How many times as many connections are tried: usually, and where nothing but connections is short. */
const steps = { usual: 2, large: 4 }
/** The part of a rate below which it has fallen. */
const fallen = 0.9
/** Milliseconds of a round trip from which on a window is more likely to be short than the line: many are tried at once. */
const longWayMs = 50
/** Bytes a second of one connection from which on no line is slow. */
const fast = 16 * 1024 * 1024
/** Milliseconds for which rates are measured: so many round trips, within bounds. */
const measuredRoundTrips = { first: 1.25, later: 2 }
const measuredMs = { first: 200, least: 300, most: 2000 }
/** A measurement that took so many times as long as it should says more of this machine than of the line. */
const interrupted = 3
/** Measurements in a row without a gain, before fewer have to do. */
const patience = 2
/** Milliseconds before connections are tried again that did not help. */
const holdMs = { first: 10_000, last: 160_000 }
/** Milliseconds after which it is not known any more how many helped. */
const forgottenMs = 300_000

/**
 * How many connections to one upstream bring more than fewer would, for all blobs together. It begins with one a blob, and
 * tries twice as many while the sum of their rates grows: a connection that is capped, has a small window over a long way, or
 * loses packets leaves room for others; a line that is simply full does not, and then it goes back for a while.
 */
export class Ramp {
  readonly #maximum: number
  readonly #lanes = new Set<{ isReceiving: boolean }>()
  readonly #listeners = new Set<() => void>()
  #level = 1
  /** What fewer brought before more were tried. */
  #trial: Sample | undefined
  /** Measurements of the trial without a gain. */
  #disappointments = 0
  /** What more brought before fewer had to do: if these bring less, it was a mistake. */
  #dismissed: Sample | undefined
  #heldUntil = Number.NEGATIVE_INFINITY
  #holdMs = holdMs.first
  #roundTripMs = 0
  /** What is measured at the moment: since when, bytes, and milliseconds of all connections that received meanwhile. */
  #since = 0
  #bytes = 0
  #laneMs = 0
  #countedAt = 0
  #connectionRate: number | undefined
  /** Whether nothing was measured yet. */
  #isNew = true
  #idleSince = Number.NEGATIVE_INFINITY

  constructor({ maximum }: RampOptions) {
    this.#maximum = maximum
  }

  /** Bytes a second of one connection, as last measured; undefined: never. */
  get connectionRate(): number | undefined {
    return this.#connectionRate
  }

  /** Connections at work. */
  get lanes(): number {
    return this.#lanes.size
  }

  /** Whether one connection more of a blob that has one is worth a try. */
  get mayAdd(): boolean {
    return this.#lanes.size < Math.min(this.#level, this.#maximum)
  }

  /** Whether there may be one more where somebody waits for it. */
  get hasRoom(): boolean {
    return this.#lanes.size < this.#maximum && performance.now() >= this.#heldUntil
  }

  /** Whether there are more at work than help. */
  get isSurplus(): boolean {
    return this.#lanes.size > Math.max(1, this.#level)
  }

  /** Calls `hear` whenever there may be room for one more that was not there before. Dispose to hear no more. */
  listen(hear: () => void): Disposable {
    this.#listeners.add(hear)
    return { [Symbol.dispose]: () => void this.#listeners.delete(hear) }
  }

  /** One more is at work. `roundTripMs`: milliseconds of a round trip, where that is known. */
  enter(roundTripMs = 0): Lane {
    const now = performance.now()
    if (this.#lanes.size === 0 && now - this.#idleSince > forgottenMs) this.#forget()
    this.#roundTripMs = roundTripMs
    const lane = { isReceiving: false }
    this.#lanes.add(lane)
    return {
      received: (bytes) => {
        if (!this.#lanes.has(lane)) return
        if (!lane.isReceiving) {
          this.#count()
          lane.isReceiving = true
          // What more bring cannot be told from what was before them.
          if (this.#trial || this.#receiving === 1) this.#measureAnew()
        }
        this.#received(bytes)
      },
      [Symbol.dispose]: () => {
        this.#count()
        if (!this.#lanes.delete(lane)) return
        if (this.#lanes.size === 0) this.#idleSince = performance.now()
        this.#tell()
      },
    }
  }

  /** The upstream gave nothing to one that is at work still: as many as there are beside it have to do for a while. */
  refused(): void {
    this.#level = Math.max(1, this.#lanes.size - 1)
    this.#hold()
  }

  get #receiving(): number {
    let count = 0
    for (const { isReceiving } of this.#lanes) if (isReceiving) count += 1
    return count
  }

  get #measuredMs(): number {
    const { first, later } = measuredRoundTrips
    const ms = (this.#isNew ? first : later) * this.#roundTripMs
    return Math.min(Math.max(ms, this.#isNew ? measuredMs.first : measuredMs.least), measuredMs.most)
  }

  #measureAnew(): void {
    this.#since = performance.now()
    this.#countedAt = this.#since
    this.#bytes = 0
    this.#laneMs = 0
  }

  /** Blobs begin and end meanwhile. */
  #count(): void {
    const now = performance.now()
    this.#laneMs += (now - this.#countedAt) * this.#receiving
    this.#countedAt = now
  }

  #received(bytes: number): void {
    this.#bytes += bytes
    const ms = performance.now() - this.#since
    if (ms < this.#measuredMs) return
    this.#count()
    const lanes = this.#receiving
    this.#connectionRate = (this.#bytes * 1000) / Math.max(1, this.#laneMs)
    const rate = this.#connectionRate * lanes
    if (ms < this.#measuredMs * interrupted) this.#judge({ lanes, rate })
    this.#measureAnew()
  }

  #judge(sample: Sample): void {
    const trial = this.#trial
    if (!trial) {
      const before = this.#dismissed
      if (before && sample.lanes <= this.#level) {
        this.#dismissed = undefined
        if (sample.rate < fallen * before.rate) this.#restore(before)
      }
      const isHeld = performance.now() < this.#heldUntil
      const isSlow = sample.rate / sample.lanes < fast
      const isBold = this.#isNew && this.#roundTripMs >= longWayMs
      if (!isHeld && isSlow && sample.lanes >= this.#level)
        this.#try(sample, isBold ? steps.large : steps.usual)
      this.#isNew = false
      return
    }
    // Not all of those that may be tried are there.
    if (sample.lanes <= trial.lanes) return
    const grown = sample.lanes / trial.lanes - 1
    const gained = sample.rate / trial.rate - 1
    if (gained < worthwhileGain * grown) {
      this.#disappointments += 1
      if (this.#disappointments >= patience) this.#dismiss(sample, trial.lanes)
    } else if (gained < fullGain * grown && sample.lanes > steps.usual * trial.lanes) {
      // Some of them helped: half may do.
      this.#dismiss(sample, Math.ceil(sample.lanes / 2))
    } else if (sample.lanes >= this.#level) {
      this.#holdMs = holdMs.first
      this.#try(sample, gained >= fullGain * grown ? steps.large : steps.usual)
    }
  }

  #try(sample: Sample, times: number): void {
    this.#trial = undefined
    this.#disappointments = 0
    const level = Math.min(this.#maximum, sample.lanes * times)
    if (level <= sample.lanes) return
    this.#trial = sample
    this.#level = level
    this.#tell()
  }

  #tell(): void {
    for (const hear of [...this.#listeners]) hear()
  }

  /** So many have to do, unless they bring less. */
  #dismiss(sample: Sample, level: number): void {
    this.#level = level
    this.#dismissed = sample
    this.#hold()
  }

  #restore({ lanes }: Sample): void {
    this.#level = lanes
    this.#holdMs = holdMs.first
    this.#hold()
    this.#tell()
  }

  #hold(): void {
    this.#trial = undefined
    this.#heldUntil = performance.now() + this.#holdMs
    this.#holdMs = Math.min(this.#holdMs * 2, holdMs.last)
  }

  #forget(): void {
    this.#level = 1
    this.#trial = undefined
    this.#dismissed = undefined
    this.#heldUntil = Number.NEGATIVE_INFINITY
    this.#holdMs = holdMs.first
    this.#connectionRate = undefined
    this.#isNew = true
  }
}
