import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { LineFlow } from './line-flow.ts'
import { PacketLoss } from './line-loss.ts'
import { LineScheduler } from './line-scheduler.ts'

export type LineTarget = { readonly host: string; readonly port: number }

export type SlowLineOptions = {
  /** Forwarded at once; further targets by `forward`. */
  readonly target?: LineTarget
  /** Milliseconds that a byte travels, each way; opening a connection takes a round trip more. */
  readonly delayMs?: number
  /** Bytes per second towards the clients, shared fairly by all connections. */
  readonly rateBytesPerSecond?: number
  /** Bytes per second towards the client of each connection. */
  readonly connectionRateBytesPerSecond?: number
  /** Bytes towards the client of each connection that may be on their way unacknowledged, as TCP's window. */
  readonly windowBytes?: number
  /** Of that window at the start of a connection, as TCP's slow start: twice as much after each round trip. */
  readonly startWindowBytes?: number
  /** The share of packets towards the clients that is lost, from 0 to 1: what follows waits a round trip for it. */
  readonly lossProbability?: number
  /** Decides which packets are lost, together with the number of the connection; 1 unless set. */
  readonly lossSeed?: number
  /** Bytes towards the client after which each connection is reset. */
  readonly cutAfterBytes?: number
  readonly observer?: LineObserver
}

/** Is told what happens to each connection of a line, by its number: 1 for the first. */
export interface LineObserver {
  opened(connection: number): void
  /** The target sees it come from this port. */
  reached(connection: number, port: number): void
  /** Bytes were handed on to the client. */
  received(connection: number, bytes: number): void
  closed(connection: number): void
}

type Forward = { readonly target: LineTarget; readonly port: number; server: Server | undefined }

type Connection = { readonly client: Socket; readonly target: Socket }

/**
 * A slow and unreliable line to one server or several, as a TCP proxy on 127.0.0.1. Down is the direction
 * from the target to the clients. Its owner disposes of it.
 */
export class SlowLine implements AsyncDisposable {
  readonly #options: SlowLineOptions
  readonly #scheduler: LineScheduler
  readonly #forwards: Forward[] = []
  readonly #connections = new Set<Connection>()
  readonly #bytes = { up: 0, down: 0 }
  #opened = 0
  #refusing = false

  constructor(options: SlowLineOptions) {
    this.#options = options
    this.#scheduler = new LineScheduler(options.rateBytesPerSecond)
  }

  /** The port that leads to the first target. Throws where there is none. */
  get port(): number {
    const [first] = this.#forwards
    if (first === undefined) throw new Error('the line has no target yet')
    return first.port
  }

  /** `http://127.0.0.1:<port>` of the first target. Throws where there is none. */
  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  /** Bytes handed on so far in each direction; down, that is what the clients' kernel was given. */
  get bytes(): { readonly up: number; readonly down: number } {
    return { ...this.#bytes }
  }

  /** Connections that are open now. */
  get connections(): number {
    return this.#connections.size
  }

  /** Connections that were ever opened. */
  get opened(): number {
    return this.#opened
  }

  /** Opens a port that leads to a target over this line. Rejects with the error of `listen`. */
  async forward(target: LineTarget): Promise<LineTarget> {
    const server = await this.#listen(target, 0)
    const { port } = server.address() as AddressInfo
    this.#forwards.push({ target, port, server })
    return { host: '127.0.0.1', port }
  }

  /** Resets every connection on both sides; what was on its way is lost. */
  cutAll(): void {
    for (const { client, target } of this.#connections) {
      client.resetAndDestroy()
      target.resetAndDestroy()
    }
  }

  /** Turns the line into a black hole: connections open and stay, but nothing arrives. */
  pause(): void {
    this.#scheduler.pause()
  }

  resume(): void {
    this.#scheduler.resume()
  }

  /** Refuses new connections; those that are open stay. */
  async refuse(): Promise<void> {
    this.#refusing = true
    for (const forward of this.#forwards) {
      forward.server?.close()
      forward.server = undefined
    }
  }

  /** Accepts connections again, at the same ports. */
  async accept(): Promise<void> {
    this.#refusing = false
    for (const forward of this.#forwards) {
      forward.server ??= await this.#listen(forward.target, forward.port)
    }
  }

  async close(): Promise<void> {
    await this.refuse()
    this.cutAll()
    this.#scheduler.pause()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #listen(target: LineTarget, port: number): Promise<Server> {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) =>
      this.#join(client, target),
    )
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, '127.0.0.1', 4096, resolve)
    })
    return server
  }

  #join(client: Socket, { host, port }: LineTarget): void {
    if (this.#refusing) {
      client.resetAndDestroy()
      return
    }
    const { delayMs = 0, rateBytesPerSecond: shared, connectionRateBytesPerSecond: own } = this.#options
    const target = connect({ host, port, allowHalfOpen: true, noDelay: true })
    const connection = { client, target }
    const openedAt = performance.now()
    const scheduler = this.#scheduler
    const rateBytesPerSecond = Math.min(shared ?? Number.POSITIVE_INFINITY, own ?? Number.POSITIVE_INFINITY)
    this.#connections.add(connection)
    this.#opened += 1
    const number = this.#opened
    const { observer } = this.#options
    observer?.opened(number)
    target.once('connect', () => observer?.reached(number, target.localPort ?? 0))
    // The handshake is answered here at once, so that its round trip is charged to the first bytes.
    const up = new LineFlow(client, target, scheduler, {
      delayMs,
      notBefore: openedAt + 3 * delayMs,
      onBytes: (bytes) => this.#count('up', bytes),
    })
    const down = new LineFlow(target, client, scheduler, {
      delayMs,
      bufferRate: rateBytesPerSecond,
      rateBytesPerSecond: own,
      shaped: true,
      windowBytes: this.#options.windowBytes,
      startWindowBytes: this.#options.startWindowBytes,
      loss: this.#lossOf(number),
      cutAfterBytes: this.#options.cutAfterBytes,
      onBytes: (bytes) => {
        this.#count('down', bytes)
        if (bytes > 0) observer?.received(number, bytes)
      },
    })
    for (const socket of [client, target]) {
      socket.once('close', () => {
        if (!client.destroyed || !target.destroyed || !this.#connections.delete(connection)) return
        observer?.closed(number)
      })
    }
    up.start()
    down.start()
  }

  #lossOf(connection: number): PacketLoss | undefined {
    const { lossProbability, lossSeed = 1 } = this.#options
    return lossProbability === undefined
      ? undefined
      : new PacketLoss(lossProbability, lossSeed * 1_000_003 + connection)
  }

  #count(direction: 'up' | 'down', bytes: number): void {
    this.#bytes[direction] += bytes
  }
}

/** Opens a slow line. Rejects with the error of `listen`. */
export async function startSlowLine(options: SlowLineOptions = {}): Promise<SlowLine> {
  const line = new SlowLine(options)
  if (options.target !== undefined) await line.forward(options.target)
  return line
}
