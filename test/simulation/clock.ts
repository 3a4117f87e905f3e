import type { Random } from '../torture/random.ts'

/** What happens at a moment of a simulated time. */
interface Event {
  readonly at: number
  /** Decides between two of the same moment. */
  readonly tie: number
  /** In whose name it was asked for: 0 is the world, any other number a process. */
  readonly owner: number
  run: (() => void) | undefined
}

/** Milliseconds since the epoch at which simulated time begins. */
const epochMs = 1_800_000_000_000
const realSetImmediate = setImmediate

/**
 * Time that passes only when nobody moves. While it is installed, timers and clocks of this process are its own; what
 * comes at the same moment comes in an order that the seed decides.
 */
export class SimClock implements Disposable {
  readonly #random: Random
  readonly #heap: Event[] = []
  readonly #restore: (() => void)[] = []
  #now = 0
  #events = 0
  /** In whose name whatever runs at the moment asks for what comes later. */
  owner = 0

  constructor(random: Random) {
    this.#random = random
  }

  /** Milliseconds since the beginning. */
  get now(): number {
    return this.#now
  }

  /** Events so far. */
  get events(): number {
    return this.#events
  }

  /** Events to come, but for those that were called off. */
  get pending(): number {
    return this.#heap.filter(({ run }) => run).length
  }

  /** Calls `run` after so many milliseconds; what this returns calls it off. */
  after(milliseconds: number, run: () => void): () => void {
    const ms = Number.isFinite(milliseconds) ? Math.max(0, milliseconds) : 0
    const event: Event = { at: this.#now + ms, tie: this.#random.next(), owner: this.owner, run }
    this.#push(event)
    return () => {
      event.run = undefined
    }
  }

  sleep(milliseconds: number): Promise<void> {
    return new Promise((resolve) => this.after(milliseconds, resolve))
  }

  /** A process has ended: nothing that it asked for comes any more. */
  forget(owner: number): void {
    for (const event of this.#heap) if (event.owner === owner) event.run = undefined
  }

  /**
   * Lets time pass until `isOver`, which is asked whenever all that can go on has done so. False where nothing is to come
   * any more, or after so many events or milliseconds.
   */
  async run(
    isOver: () => boolean,
    { events, untilMs }: { events: number; untilMs: number },
  ): Promise<boolean> {
    const last = this.#events + events
    for (;;) {
      await new Promise<void>((resolve) => realSetImmediate(resolve))
      if (isOver()) return true
      const event = this.#pop()
      if (!event || event.at > untilMs || this.#events >= last) return false
      this.#now = event.at
      this.#events += 1
      this.owner = event.owner
      const { run } = event
      event.run = undefined
      run?.()
    }
  }

  /** Takes the place of the clocks and timers of this process until it is disposed of. */
  install(): this {
    const timer = (run: (...values: unknown[]) => void, ms = 0, ...values: unknown[]) =>
      new SimTimer(this, Math.max(1, ms), () => run(...values), false)
    const interval = (run: (...values: unknown[]) => void, ms = 0, ...values: unknown[]) =>
      new SimTimer(this, Math.max(1, ms), () => run(...values), true)
    const clear = (timer: unknown): void => {
      if (timer instanceof SimTimer) timer.close()
    }
    this.#replace(globalThis, 'setTimeout', timer)
    this.#replace(globalThis, 'setInterval', interval)
    this.#replace(globalThis, 'clearTimeout', clear)
    this.#replace(globalThis, 'clearInterval', clear)
    this.#replace(performance, 'now', () => this.#now)
    this.#replace(Date, 'now', () => Math.floor(epochMs + this.#now))
    this.#replace(Math, 'random', () => this.#random.next())
    this.#replace(AbortSignal, 'timeout', (ms: number) => {
      const controller = new AbortController()
      this.after(ms, () => controller.abort(new DOMException('it took too long', 'TimeoutError')))
      return controller.signal
    })
    return this
  }

  [Symbol.dispose](): void {
    for (const restore of this.#restore.splice(0)) restore()
  }

  #replace(target: object, name: string, value: unknown): void {
    const before = Object.getOwnPropertyDescriptor(target, name)
    Object.defineProperty(target, name, { value, configurable: true, writable: true })
    this.#restore.push(() => {
      if (before) Object.defineProperty(target, name, before)
      else Reflect.deleteProperty(target, name)
    })
  }

  #push(event: Event): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(event)
    while (at > 0) {
      const above = (at - 1) >> 1
      const parent = heap[above] as Event
      if (!isBefore(event, parent)) break
      heap[at] = parent
      at = above
    }
    heap[at] = event
  }

  #pop(): Event | undefined {
    for (;;) {
      const first = this.#take()
      if (!first || first.run) return first
    }
  }

  #take(): Event | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (!first || !last || heap.length === 0) return first
    let at = 0
    for (;;) {
      let below = 2 * at + 1
      if (below >= heap.length) break
      const right = heap[below + 1]
      if (right && isBefore(right, heap[below] as Event)) below += 1
      const child = heap[below] as Event
      if (!isBefore(child, last)) break
      heap[at] = child
      at = below
    }
    heap[at] = last
    return first
  }
}

/** What `setTimeout` and `setInterval` return. */
class SimTimer implements Disposable {
  readonly #clock: SimClock
  readonly #ms: number
  readonly #run: () => void
  readonly #isRepeated: boolean
  #callOff: () => void

  constructor(clock: SimClock, ms: number, run: () => void, isRepeated: boolean) {
    this.#clock = clock
    this.#ms = ms
    this.#run = run
    this.#isRepeated = isRepeated
    this.#callOff = this.#begin()
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }

  hasRef(): boolean {
    return true
  }

  refresh(): this {
    this.#callOff()
    this.#callOff = this.#begin()
    return this
  }

  close(): void {
    this.#callOff()
  }

  [Symbol.dispose](): void {
    this.#callOff()
  }

  #begin(): () => void {
    return this.#clock.after(this.#ms, () => {
      if (this.#isRepeated) this.#callOff = this.#begin()
      this.#run()
    })
  }
}

function isBefore(one: Event, other: Event): boolean {
  return one.at < other.at || (one.at === other.at && one.tie < other.tie)
}
