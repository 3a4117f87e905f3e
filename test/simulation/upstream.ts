import type { RepositoryKey } from '../../src/storage/repository-key.ts'
import { UpstreamError } from '../../src/upstream/error.ts'
import { repositoryOf } from '../storage/catalog-fixtures.ts'
import type { Random } from '../torture/random.ts'
import type { SimClock } from './clock.ts'
import type { Ledger } from './ledger.ts'
import type { AnswerKind, UpstreamCharacter } from './scenario.ts'

/** What an upstream gives for a question: what it says, and what it sends. */
export interface SimAnswer {
  readonly kind: AnswerKind | undefined
  readonly start: number
  /** Where what it sends ends, and what it says of that. */
  readonly until: number
  readonly end: number | undefined
  readonly size: number | undefined
  /** Bytes of the answer after which it breaks, is silent, or has a wrong one. */
  readonly faultAt: number
  /** Bytes per millisecond. */
  readonly rate: number
}

/** Milliseconds after which what is silent is taken for dead (`limits.stall`). */
const watchdogMs = 30_000
/** Bytes by which it is wrong about sizes and places. */
const slip = 7

const refusals = {
  'rate limited': { code: 'RATE_LIMITED', status: 429, retryAfterSeconds: 2 },
  'rate limited for ages': { code: 'RATE_LIMITED', status: 429, retryAfterSeconds: 1e7 },
  'out of order': { code: 'SERVER_ERROR', status: 503 },
  expired: { code: 'FORBIDDEN', status: 403 },
  unreachable: { code: 'UNREACHABLE' },
  odd: { code: 'INVALID_RESPONSE' },
  absent: { code: 'NOT_FOUND', status: 404 },
} as const

/** A registry with its storage, as a seed has drawn it. */
export class SimUpstream {
  readonly character: UpstreamCharacter
  readonly repository: RepositoryKey
  /** Connections that nobody has ended. */
  open = 0
  /** Questions so far. */
  asked = 0
  readonly #clock: SimClock
  readonly #random: Random
  #faults: number
  #isGood = false
  /** When the line has sent all that it was given, in milliseconds. */
  #busyUntil = 0

  constructor(character: UpstreamCharacter, clock: SimClock, random: Random) {
    this.character = character
    this.repository = repositoryOf(character.name, 'library/app')
    this.#clock = clock
    this.#random = random
    this.#faults = character.faults
  }

  /** From now on each of its answers is good. */
  mend(): void {
    this.#isGood = true
  }

  /** All that it was asked by has ended. */
  disconnect(): void {
    this.open = 0
  }

  /** Answers a question for the bytes from `position` on; throws where it refuses, or the signal's reason. */
  async answer(
    ledger: Ledger,
    position: number,
    end: number | undefined,
    signal: AbortSignal,
  ): Promise<SimAnswer> {
    const { roundTripMs, connections, name } = this.character
    this.asked += 1
    const isCrowded = this.open > connections
    const kind = this.#draw()
    const latency = roundTripMs * (1 + this.#random.next()) + (kind === 'slow headers' ? 10_000 : 0)
    await this.wait(kind === 'silent' ? watchdogMs : latency, signal)
    if (kind === 'silent') throw new UpstreamError('TIMED_OUT', name, 'nothing came')
    if (kind !== undefined && kind in refusals) {
      const { code, ...options } = refusals[kind as keyof typeof refusals]
      throw new UpstreamError(code, name, `it is ${kind}`, options)
    }
    if (isCrowded && !this.#isGood)
      throw new UpstreamError('SERVER_ERROR', name, 'so many connections', { status: 503 })
    return this.#answerOf(kind, ledger, position, end)
  }

  /** Waits until the line has brought so many bytes more; sooner where `stopped` aborts. Throws the signal's reason. */
  async bring(bytes: number, rate: number, signal: AbortSignal, stopped: AbortSignal): Promise<void> {
    const { lineRate } = this.character
    const { now } = this.#clock
    this.#busyUntil = Math.max(now, this.#busyUntil) + bytes / lineRate
    await this.wait(Math.max(bytes / rate, this.#busyUntil - now), signal, stopped)
  }

  /** As a connection that waits for its peer. */
  wait(milliseconds: number, signal: AbortSignal, stopped?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      const end = (): void => {
        callOff()
        signal.removeEventListener('abort', end)
        stopped?.removeEventListener('abort', end)
        if (signal.aborted) reject(signal.reason)
        else resolve()
      }
      const callOff = this.#clock.after(milliseconds, end)
      signal.addEventListener('abort', end)
      stopped?.addEventListener('abort', end)
    })
  }

  /** What it says when it is asked for the size of a blob. */
  async size(ledger: Ledger, signal: AbortSignal): Promise<number | undefined> {
    const kind = this.#draw()
    await this.wait(this.character.roundTripMs, signal)
    if (kind !== undefined && kind in refusals)
      throw new UpstreamError('SERVER_ERROR', this.character.name, kind)
    if (kind === 'says less' || kind === 'says more') return this.#told(kind, ledger)
    return kind === undefined ? ledger.blob.bytes.length : undefined
  }

  /** Of something that may be so or not. */
  toss(): boolean {
    return this.#random.isLikely(0.5)
  }

  /** The next piece, in bytes. */
  pieceSize(): number {
    return 1 + this.#random.below(this.character.pieceSize)
  }

  #answerOf(
    kind: AnswerKind | undefined,
    ledger: Ledger,
    position: number,
    end: number | undefined,
  ): SimAnswer {
    const { habits, connectionRate, name } = this.character
    const { length } = ledger.blob.bytes
    const has = (habit: (typeof habits)[number]): boolean => !this.#isGood && habits.includes(habit)
    const isWhole = kind === 'sends all' || has('ignores ranges')
    if (!isWhole && position > 0 && position >= length) {
      throw new UpstreamError('INVALID_RESPONSE', name, 'it answered 416', { status: 416 })
    }
    const wanted = isWhole || has('ignores ends') ? length : Math.min(end ?? length, length)
    const start = isWhole ? 0 : this.#startOf(kind, position, length)
    const until =
      kind === 'sends less' && wanted > start ? start + this.#random.below(wanted - start) : wanted
    const more = kind === 'sends more' ? Math.min(length, until + this.pieceSize()) : until
    const size = this.#told(kind, ledger)
    const isSaid = size !== undefined && !has('tells no end')
    return {
      kind,
      start,
      until: kind === 'says less' ? Math.min(more, size ?? length) : more,
      end: isSaid ? more : undefined,
      size: has('tells no size') ? undefined : size,
      faultAt: this.#random.below(Math.max(1, more - start)),
      rate: kind === 'trickles' ? Math.min(0.5, connectionRate) : connectionRate,
    }
  }

  #startOf(kind: AnswerKind | undefined, position: number, length: number): number {
    if (kind === 'starts later') return Math.min(length, position + slip)
    if (kind === 'starts earlier') return Math.max(0, position - slip)
    return position
  }

  #told(kind: AnswerKind | undefined, { blob }: Ledger): number | undefined {
    if (kind === 'says nothing of its size') return undefined
    const by = kind === 'says less' ? -slip : kind === 'says more' ? slip : 0
    return Math.max(0, blob.bytes.length + by)
  }

  #draw(): AnswerKind | undefined {
    const { faultRate, kinds } = this.character
    if (this.#isGood || this.#faults === 0 || !this.#random.isLikely(faultRate)) return undefined
    this.#faults -= 1
    return this.#random.oneOf(kinds)
  }
}
