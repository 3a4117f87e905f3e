import type { ServerResponse } from 'node:http'
import { ClientLeftError, sendBlob } from '../../src/http/send-blob.ts'
import type { ByteRange } from '../../src/oci/range.ts'
import type { SimClock } from './clock.ts'
import type { Ledger } from './ledger.ts'
import type { SimProcess } from './process.ts'
import type { ClientPlan } from './scenario.ts'

/** How it went for a client: `whole`: it has the end of its answer; `left`: it went away. */
export type Outcome = 'whole' | 'left' | Error

export interface ClientParts {
  readonly plan: ClientPlan
  readonly ledger: Ledger
  readonly clock: SimClock
  readonly log: (what: string) => void
  /** Something that must not be. */
  readonly onProblem: (problem: string) => void
}

/** One who wants a blob or a part of it, and asks again where the process ends meanwhile. */
export class SimClient {
  readonly plan: ClientPlan
  readonly #parts: ClientParts
  /** When it goes away, in milliseconds. */
  readonly #leavesAt: number
  #leaving = new AbortController()
  outcome: Outcome | undefined

  constructor(parts: ClientParts) {
    this.plan = parts.plan
    this.#parts = parts
    const { comesMs, leavesMs } = parts.plan
    this.#leavesAt = leavesMs === undefined ? Number.POSITIVE_INFINITY : comesMs + leavesMs
  }

  /** Whether it waits for something. */
  get isWaiting(): boolean {
    return this.outcome === undefined
  }

  /** Asks a process; for ever unless it ends, or the process does. */
  async ask(process: SimProcess): Promise<void> {
    const { clock, log } = this.#parts
    const { name } = this.plan
    if (clock.now >= this.#leavesAt) this.outcome = 'left'
    if (!this.isWaiting) return
    this.#leaving = new AbortController()
    const { signal } = this.#leaving
    const leave = (): void => this.#leaving.abort(new ClientLeftError(new Error('it has left')))
    const callOff =
      this.#leavesAt < Number.POSITIVE_INFINITY ? clock.after(this.#leavesAt - clock.now, leave) : undefined
    log(`${name} asks`)
    try {
      const response = await this.#receive(process, signal)
      this.outcome = 'whole'
      log(`${name} has all ${response.length} bytes`)
    } catch (error) {
      this.outcome = signal.aborted ? 'left' : (error as Error)
      log(`${name} ends: ${error}`)
    } finally {
      callOff?.()
    }
  }

  async #receive(process: SimProcess, signal: AbortSignal): Promise<SimResponse> {
    const { plan, ledger, clock, onProblem } = this.#parts
    const { blob } = ledger
    const size = plan.claim === undefined ? undefined : Math.max(0, blob.bytes.length + plan.claim)
    const source = process.source(plan.upstream, ledger)
    ledger.comes(source.name)
    // What one process finds out about a descriptor, the next one does not know.
    if (plan.claim) ledger.excuseAll('a descriptor was wrong')
    const wanted = { size, client: plan.address, signal, ...(size !== undefined && rangesOf(plan, size)) }
    const { reader } = await process.blobs.open(blob.digest, source, wanted)
    await using opened = reader
    const range = rangeOf(plan, opened.size)
    const response = new SimResponse(clock, plan)
    const { pool, pieces } = process
    const sent = { bytes: 0, pendingBytes: 0 }
    await sendBlob(
      response as unknown as ServerResponse,
      opened,
      { parts: [range] },
      { pool, pieces, signal, sent },
    )
    // A part inside of the blob is given as it came, before the digest (decision 0059).
    const isWrong = ledger.isTainted || opened.size !== blob.bytes.length
    const isAsItCame = range.end < opened.size && isWrong
    if (!isAsItCame && (range.end > range.start || opened.size === 0))
      response.judge(blob.bytes, range, opened.size, onProblem)
    return response
  }
}

/** What it says that it is going to read. */
function rangesOf(plan: ClientPlan, size: number): { ranges?: readonly ByteRange[] } {
  const range = rangeOf(plan, size)
  // Nobody is told of a part that cannot be: see `neededRanges`.
  return plan.range && range.start < range.end ? { ranges: [range] } : {}
}

/** The part that is asked for, of a blob that is said to have so many bytes. */
function rangeOf({ range }: ClientPlan, size: number): ByteRange {
  if (!range) return { start: 0, end: size }
  const start = Math.min(Math.floor(range.start * size), Math.max(0, size - 1))
  const end = range.end === undefined ? size : Math.max(start, Math.floor(range.end * size))
  return { start, end: Math.min(size, end) }
}

/** A response, whose client takes what is written as it likes. */
class SimResponse {
  readonly #clock: SimClock
  readonly #plan: ClientPlan
  readonly #received: Buffer[] = []
  #isEnded = false
  #hasPaused = false

  constructor(clock: SimClock, plan: ClientPlan) {
    this.#clock = clock
    this.#plan = plan
  }

  get length(): number {
    return this.#received.reduce((sum, { length }) => sum + length, 0)
  }

  write(bytes: Uint8Array, onTaken: (error?: Error) => void): boolean {
    const { rate, pauseMs } = this.#plan
    const pause = this.#hasPaused ? 0 : pauseMs
    this.#hasPaused = true
    const takes = pause + (rate === undefined ? 0 : bytes.length / rate)
    const take = (): void => {
      // The kernel copies what is written when it takes it.
      this.#received.push(Buffer.from(bytes))
      onTaken()
    }
    if (takes === 0) queueMicrotask(take)
    else this.#clock.after(takes, take)
    return false
  }

  end(): void {
    this.#isEnded = true
  }

  /** I1: what is complete is what the blob has there. */
  judge(bytes: Buffer, range: ByteRange, size: number, onProblem: (problem: string) => void): void {
    const { name } = this.#plan
    if (!this.#isEnded) onProblem(`I1 ${name}: an answer is neither ended nor failed`)
    const body = Buffer.concat(this.#received)
    if (size !== bytes.length)
      onProblem(`I1 ${name}: a whole answer of a blob of ${size} bytes, it has ${bytes.length}`)
    if (!body.equals(bytes.subarray(range.start, range.end)))
      onProblem(`I1 ${name}: a whole answer of ${range.start}-${range.end} has ${body.length} other bytes`)
  }
}
