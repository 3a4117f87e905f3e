import type { LineFlow } from './line-flow.ts'

/** Milliseconds between two looks at a budget that is used up. */
const tickMs = 8
/** Milliseconds without traffic after which unused budget is lost, as it is on a real line. */
const idleMs = 50

/** Bytes that may be sent by now. It goes into debt by at most one portion, so that portions stay whole. */
export class LineBudget {
  /** Bytes sent at a time: about one tick's worth. */
  readonly portion: number
  readonly #bytesPerMs: number
  #bytes = 0
  #filledAt = performance.now()
  #usedAt = Number.NEGATIVE_INFINITY
  #wanted = false

  constructor(bytesPerSecond = Number.POSITIVE_INFINITY) {
    this.#bytesPerMs = bytesPerSecond / 1000
    this.portion = Math.min(64 * 1024, Math.max(256, Math.floor(this.#bytesPerMs * tickMs)))
    if (bytesPerSecond === Number.POSITIVE_INFINITY) this.#bytes = bytesPerSecond
  }

  get isOpen(): boolean {
    return this.#bytes > 0
  }

  /** Adds what the time since the last look allows. Time that the process lost while data waited is made up. */
  fill(now: number): void {
    if (this.#bytes === Number.POSITIVE_INFINITY) return
    const idle = !this.#wanted && now - this.#usedAt > idleMs
    const most = idle ? this.portion : this.#bytesPerMs * 1000
    this.#bytes = Math.min(most, this.#bytes + (now - this.#filledAt) * this.#bytesPerMs)
    this.#filledAt = now
    this.#wanted = false
  }

  use(bytes: number, now: number): void {
    this.#bytes -= bytes
    if (bytes > 0) this.#usedAt = now
  }

  /** Notes that data waits for this budget; returns the milliseconds until it is open again. */
  want(): number {
    this.#wanted = true
    return Math.max(tickMs, -this.#bytes / this.#bytesPerMs)
  }
}

/** Decides which flow may hand on how much and when: one timer for a whole line. */
export class LineScheduler {
  readonly #budget: LineBudget
  /** Flows with something queued, those that waited longest first. */
  readonly #flows = new Set<LineFlow>()
  #timer: NodeJS.Timeout | undefined
  #immediate: NodeJS.Immediate | undefined
  #timerAt = Number.POSITIVE_INFINITY
  #paused = false

  constructor(bytesPerSecond: number | undefined) {
    this.#budget = new LineBudget(bytesPerSecond)
  }

  /** Tells that a flow has something to hand on at `due` (milliseconds of `performance.now`). */
  wake(flow: LineFlow, due: number): void {
    this.#flows.add(flow)
    this.#plan(due)
  }

  pause(): void {
    this.#paused = true
    this.#cancel()
  }

  resume(): void {
    this.#paused = false
    this.#plan(0)
  }

  #plan(at: number): void {
    if (this.#paused || at >= this.#timerAt) return
    this.#cancel()
    this.#timerAt = at
    // A timer of Node waits for a millisecond at least; that would be a rate by itself.
    const waitMs = Math.ceil(at - performance.now())
    if (waitMs <= 0) this.#immediate = setImmediate(() => this.#pump())
    else this.#timer = setTimeout(() => this.#pump(), waitMs)
  }

  #cancel(): void {
    clearTimeout(this.#timer)
    clearImmediate(this.#immediate)
    this.#timerAt = Number.POSITIVE_INFINITY
  }

  #pump(): void {
    const now = performance.now()
    this.#timerAt = Number.POSITIVE_INFINITY
    this.#budget.fill(now)
    for (const flow of this.#flows) flow.prepare(now)
    for (let served = true; served; ) {
      served = false
      for (const flow of [...this.#flows]) {
        if (flow.shaped && !this.#budget.isOpen) continue
        const bytes = flow.send(this.#budget.portion, now)
        if (bytes === undefined) continue
        served = true
        if (flow.shaped) this.#budget.use(bytes, now)
        // To the end of the row: the others come first in the next round, or at the next tick.
        this.#flows.delete(flow)
        this.#flows.add(flow)
      }
    }
    let next = Number.POSITIVE_INFINITY
    for (const flow of this.#flows) {
      const at = flow.nextAt(now)
      if (at === undefined) this.#flows.delete(flow)
      else if (at > now) next = Math.min(next, at)
      else next = Math.min(next, now + this.#budget.want())
    }
    this.#plan(next)
  }
}
