import { abortable } from '../flow/abortable.ts'
import type { Lack } from './reservation.ts'

interface Waiter<Request> {
  readonly request: Request
  /** What has gone for it. */
  bytes: number
  files: number
  readonly settled: PromiseWithResolvers<boolean>
  timer: NodeJS.Timeout | undefined
}

export interface WaitingForRoomOptions<Request> {
  /** What one who waits needs in all. */
  readonly needOf: (request: Request) => Lack
  /** It gets its room. */
  readonly grant: (request: Request) => void
  /** Milliseconds without any progress after which nobody waits any longer. */
  readonly patienceMs: number
}

/** Those who wait for room, served in the order in which they came. */
export class WaitingForRoom<Request> {
  readonly #options: WaitingForRoomOptions<Request>
  readonly #waiting: Waiter<Request>[] = []

  constructor(options: WaitingForRoomOptions<Request>) {
    this.#options = options
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0
  }

  /** Whether it got its room. Throws the reason of `signal`. */
  async wait(request: Request, signal?: AbortSignal): Promise<boolean> {
    const settled = Promise.withResolvers<boolean>()
    const waiter: Waiter<Request> = { request, bytes: 0, files: 0, settled, timer: undefined }
    this.#waiting.push(waiter)
    this.#bePatient(waiter)
    try {
      return await abortable(settled.promise, signal)
    } finally {
      this.#settle(waiter, false)
    }
  }

  /**
   * What has to go for whoever comes first, beside what went for it; those who lack nothing by now, as `lackOf` says, get
   * their room. Where a limit is passed already (it was lowered, or somebody else fills the disk), what has gone for one is
   * its own: then it is no worse than before.
   */
  first(lackOf: (request: Request) => Lack): Lack | undefined {
    for (let first = this.#waiting[0]; first; first = this.#waiting[0]) {
      const [need, lack] = [this.#options.needOf(first.request), lackOf(first.request)]
      const bytes = Math.min(lack.bytes, need.bytes - first.bytes)
      const files = Math.min(lack.files, need.files - first.files)
      if (bytes > 0 || files > 0) return { bytes, files }
      this.#options.grant(first.request)
      this.#settle(first, true)
    }
    return undefined
  }

  /** So much has gone. */
  freed({ bytes, files }: Lack): void {
    const [first] = this.#waiting
    if (!first) return
    first.bytes += bytes
    first.files += files
    for (const waiter of this.#waiting) this.#bePatient(waiter)
  }

  /** Nobody who waits gets any. */
  giveUp(): void {
    for (const waiter of [...this.#waiting]) this.#settle(waiter, false)
  }

  #settle(waiter: Waiter<Request>, isThere: boolean): void {
    clearTimeout(waiter.timer)
    const at = this.#waiting.indexOf(waiter)
    if (at >= 0) this.#waiting.splice(at, 1)
    waiter.settled.resolve(isThere)
  }

  #bePatient(waiter: Waiter<Request>): void {
    clearTimeout(waiter.timer)
    waiter.timer = setTimeout(() => this.#settle(waiter, false), this.#options.patienceMs).unref()
  }
}
