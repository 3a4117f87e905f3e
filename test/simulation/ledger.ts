import { Ranges } from '../../src/storage/ranges.ts'
import type { SimBlob } from './scenario.ts'

/** What of a blob has crossed the line, and what of it had to cross it again (I4). */
export class Ledger {
  readonly blob: SimBlob
  /** What has come and was not lost since. */
  readonly #here = new Ranges()
  /** All that has come, also what nobody had asked for: some of it was of use. */
  readonly #received = new Ranges()
  /** Upstreams that were wrong about it. */
  readonly #wrong = new Set<string>()
  /** Whether a wrong byte has come. */
  isTainted = false
  #again = 0
  #excused = 0
  readonly excuses: string[] = []

  constructor(blob: SimBlob) {
    this.blob = blob
  }

  /** Bytes that crossed the line again without a reason. */
  get unexcused(): number {
    return this.#again - this.#excused
  }

  get again(): number {
    return this.#again
  }

  /** Bytes from `start` to `end` were given; those that are outside of what was asked for are the upstream's own fault. */
  given(
    start: number,
    end: number,
    asked: { readonly start: number; readonly end: number | undefined },
  ): void {
    this.#received.add(start, end)
    const from = Math.max(start, asked.start)
    const until = Math.min(end, asked.end ?? end)
    if (from >= until) return
    const fresh = this.#here.gaps(from, until).reduce((sum, gap) => sum + gap.end - gap.start, 0)
    this.#again += until - from - fresh
    this.#here.add(from, until)
  }

  /** So many bytes may come again, for this reason. */
  excuse(bytes: number, why: string): void {
    this.#excused += bytes
    this.excuses.push(`${bytes}: ${why}`)
  }

  /** All of it may come again, for this reason. */
  excuseAll(why: string): void {
    this.excuse(this.blob.bytes.length, why)
  }

  /** An upstream was wrong about it, in a way for which all of it may come again. */
  wrong(upstream: string, why: string): void {
    this.#wrong.add(upstream)
    this.excuseAll(why)
  }

  /** Somebody comes by an upstream: what one has brought that was wrong before is not waited for any more. */
  comes(upstream: string): void {
    if (this.#wrong.size > 0 && !this.#wrong.has(upstream))
      this.excuse(this.#received.total, 'there is a better way')
  }

  /** A process has ended: the next one finds so many bytes of it. */
  left(bytes: number): void {
    const lost = this.#received.total - bytes
    if (lost > 0) this.excuse(lost, 'lost with the process')
  }
}
