import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { PacketLoss } from './line-loss.ts'
import { LineBudget, type LineScheduler } from './line-scheduler.ts'
import { sendQueueEmpty } from './socket-drain.ts'

export type LineFlowOptions = {
  /** Milliseconds from arrival to hand-over. */
  readonly delayMs: number
  /** Nothing is handed on before this moment (milliseconds of `performance.now`). */
  readonly notBefore?: number
  /** Whether the line's shared rate applies. */
  readonly shaped?: boolean
  /** Bytes per second of this flow alone. */
  readonly rateBytesPerSecond?: number | undefined
  /** The highest rate that can be reached, for the size of the buffer. */
  readonly bufferRate?: number
  /** Bytes on their way that have not been acknowledged, at most; an acknowledgment travels as long as a byte. */
  readonly windowBytes?: number | undefined
  /** Of these at the start, as TCP's slow start: twice as many a round trip later. */
  readonly startWindowBytes?: number | undefined
  /** Which packets are lost. What follows such a one waits for it, which is sent again a round trip later. */
  readonly loss?: PacketLoss | undefined
  /** Bytes after which both ends are reset. */
  readonly cutAfterBytes?: number | undefined
  readonly onBytes: (bytes: number) => void
}

type Item =
  | { readonly due: number; readonly chunk: Buffer }
  | { readonly due: number; readonly last: 'end' | 'reset' }

/** Milliseconds of traffic that are buffered beyond the delay, so that the rate is held between two ticks. */
const reserveMs = 50
/** Bytes buffered where no rate is set. */
const unshapedBuffer = 16 * 1024 * 1024

/** One direction of a connection: reads from a socket, and hands on to the other when its scheduler says so. */
export class LineFlow {
  readonly shaped: boolean
  readonly #source: Socket
  readonly #sink: Socket
  readonly #scheduler: LineScheduler
  readonly #options: LineFlowOptions
  readonly #budget: LineBudget
  /** Bytes that are buffered at most, whatever the window. */
  readonly #buffer: number
  /** Bytes on their way unacknowledged, at most, for now. */
  #window: number
  readonly #queue: Item[] = []
  #queued = 0
  /** Handed on, and not yet known to the other end. */
  #unacknowledged = 0
  #room = Promise.withResolvers<void>()
  #blocked = false
  /** Bytes that may still be handed on before it is cut. */
  #untilCut: number

  constructor(source: Socket, sink: Socket, scheduler: LineScheduler, options: LineFlowOptions) {
    const { delayMs, shaped = false } = options
    const { bufferRate = Number.POSITIVE_INFINITY, windowBytes = Number.POSITIVE_INFINITY } = options
    this.#window = Math.min(windowBytes, options.startWindowBytes ?? windowBytes)
    this.#untilCut = options.cutAfterBytes ?? Number.POSITIVE_INFINITY
    this.shaped = shaped
    this.#source = source
    this.#sink = sink
    this.#scheduler = scheduler
    this.#options = options
    this.#budget = new LineBudget(options.rateBytesPerSecond)
    this.#buffer = Math.min(unshapedBuffer, 64 * 1024 + (bufferRate * (delayMs + reserveMs)) / 1000)
  }

  /** Starts to read. Everything after that happens by itself. */
  start(): void {
    // Errors reach the reader below, or show as a close.
    this.#source.on('error', () => undefined)
    this.#sink.on('drain', () => {
      this.#blocked = false
      this.#wake()
    })
    this.#sink.once('close', () => void this.#abandon())
    void this.#read()
  }

  /** Fills the flow's own budget. */
  prepare(now: number): void {
    this.#budget.fill(now)
  }

  /** Hands on at most `most` bytes of what is due; undefined where nothing can be done now. */
  send(most: number, now: number): number | undefined {
    if (!this.#isReady(now) || !this.#budget.isOpen) return undefined
    let left = Math.min(most, this.#budget.portion, this.#untilCut)
    let sent = 0
    this.#sink.cork()
    while (left > 0 && this.#isReady(now)) {
      const item = this.#queue.shift()
      if (item === undefined) break
      if ('last' in item) {
        this.#finish(item.last)
        break
      }
      const piece = item.chunk.length <= left ? item.chunk : item.chunk.subarray(0, left)
      if (piece.length < item.chunk.length) {
        this.#queue.unshift({ due: item.due, chunk: item.chunk.subarray(piece.length) })
      }
      this.#blocked = !this.#sink.write(piece)
      left -= piece.length
      sent += piece.length
    }
    this.#sink.uncork()
    this.#queued -= sent
    this.#budget.use(sent, now)
    this.#options.onBytes(sent)
    this.#untilCut -= sent
    if (this.#untilCut <= 0) this.#cut()
    if (this.#options.windowBytes !== undefined) void this.#acknowledge(sent)
    this.#tellRoom()
    return sent
  }

  /** When to look again (`now` where it waits for the shared budget); undefined where an event will tell. */
  nextAt(now: number): number | undefined {
    const [head] = this.#queue
    if (head === undefined || this.#blocked || this.#sink.destroyed) return undefined
    if (head.due > now) return head.due
    return this.#budget.isOpen ? now : now + this.#budget.want()
  }

  #isReady(now: number): boolean {
    const [head] = this.#queue
    return head !== undefined && head.due <= now && !this.#blocked && !this.#sink.destroyed
  }

  #wake(): void {
    const [head] = this.#queue
    if (head !== undefined) this.#scheduler.wake(this, head.due)
  }

  #push(item: Item): void {
    if (this.#untilCut <= 0) return
    this.#queue.push(item)
    if (this.#queue.length === 1) this.#wake()
  }

  #due(): number {
    return Math.max(performance.now() + this.#options.delayMs, this.#options.notBefore ?? 0)
  }

  async #read(): Promise<void> {
    try {
      for await (const chunk of this.#source.iterator({ destroyOnReturn: false })) {
        if (this.#sink.destroyed) return
        for (let rest = chunk; rest.length > 0 && !this.#sink.destroyed; ) rest = await this.#take(rest)
      }
      this.#push({ due: this.#due(), last: 'end' })
    } catch {
      this.#push({ due: this.#due(), last: 'reset' })
    }
  }

  /** Takes in what there is room for, waits where there is none, and returns the rest. */
  async #take(chunk: Buffer): Promise<Buffer> {
    const { windowBytes } = this.#options
    // Without a window what has been read is taken whole: it is in memory anyway.
    const most = windowBytes === undefined ? chunk.length : Math.max(0, this.#open)
    const piece = chunk.subarray(0, most)
    this.#queued += piece.length
    if (piece.length > 0) this.#dispatch(piece)
    if (this.#open <= 0) {
      this.#room = Promise.withResolvers()
      await this.#room.promise
    }
    return chunk.subarray(piece.length)
  }

  /** Puts bytes on their way: those that are lost arrive a round trip late, and nothing overtakes them. */
  #dispatch(bytes: Buffer): void {
    const due = this.#due()
    for (const piece of this.#options.loss?.split(bytes) ?? [{ bytes, isLost: false }]) {
      this.#push({ due: piece.isLost ? due + 2 * this.#options.delayMs : due, chunk: piece.bytes })
    }
  }

  /** Bytes that there is room for. */
  get #open(): number {
    return Math.min(this.#buffer, this.#window) - this.#queued - this.#unacknowledged
  }

  #tellRoom(): void {
    if (this.#open > 0) this.#room.resolve()
  }

  async #acknowledge(bytes: number): Promise<void> {
    this.#unacknowledged += bytes
    await sleep(this.#options.delayMs)
    this.#unacknowledged -= bytes
    this.#window = Math.min(this.#options.windowBytes ?? this.#window, this.#window + bytes)
    this.#tellRoom()
  }

  /** What is on its way is lost, and nothing more is read. */
  #cut(): void {
    this.#queue.length = 0
    this.#queued = Number.POSITIVE_INFINITY
    void this.#reset()
  }

  #finish(how: 'end' | 'reset'): void {
    if (how === 'end') this.#sink.end()
    else void this.#reset()
  }

  /** Resets the sink, once its peer has all that was sent before. */
  async #reset(): Promise<void> {
    if (this.#sink.writableLength > 0)
      await Promise.race([once(this.#sink, 'drain'), once(this.#sink, 'close')])
    await sendQueueEmpty(this.#sink)
    this.#sink.resetAndDestroy()
  }

  /** The sink is gone: so is, a delay later, a source that has not ended by itself. */
  async #abandon(): Promise<void> {
    this.#queue.length = 0
    this.#queued = 0
    this.#room.resolve()
    if (this.#options.delayMs > 0) await sleep(this.#options.delayMs)
    if (!this.#source.readableEnded) this.#source.resetAndDestroy()
  }
}
