import { createHash, type Hash } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** What came back for one GET. */
export interface Received {
  /** 0 where the connection broke before the headers. */
  readonly status: number
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>
  /** Bytes of the body. */
  readonly bytes: number
  /** Whether the body was as long as its Content-Length promised. */
  readonly isComplete: boolean
  /** Milliseconds from the request to the first byte of the body, and to the last. */
  readonly firstByteMs: number
  readonly totalMs: number
  /** Of the body, where it was asked for. */
  readonly digest: string | undefined
}

export interface GetOptions {
  readonly headers?: Readonly<Record<string, string>>
  readonly isHashed?: boolean
  /** Reads no faster than this. */
  readonly bytesPerSecond?: number
  /** Called with the bytes of the body so far. */
  readonly onProgress?: (bytes: number) => void
}

interface Exchange {
  readonly options: GetOptions
  readonly startedAt: number
  readonly done: PromiseWithResolvers<Received>
  readonly hash: Hash | undefined
  head: string
  status: number
  headers: Map<string, string>
  length: number
  bytes: number
  firstByteAt: number
}

/** Everybody reads into this one: what arrives is used before the next read. */
const buffer = Buffer.allocUnsafeSlow(1024 * 1024)

/**
 * One HTTP/1.1 connection that throws away what it receives. Written by hand over a socket that reads into one
 * recycled buffer, since a client made of streams costs more processor time than the servers that it measures.
 * It knows bodies with a Content-Length only. Dispose to reset the connection.
 */
export class ClientConnection implements Disposable {
  readonly #socket: Socket
  readonly #host: string
  #current: Exchange | undefined

  private constructor(url: URL) {
    this.#host = url.host
    this.#socket = connect({
      host: url.hostname,
      port: Number(url.port),
      noDelay: true,
      onread: {
        buffer,
        callback: (count, bytes) => this.#take(Buffer.from(bytes.buffer, bytes.byteOffset, count)),
      },
    })
    // An error shows as a close.
    this.#socket.on('error', () => {})
    this.#socket.on('close', () => this.#finish(false))
    this.#socket.on('end', () => this.#socket.destroy())
  }

  /** Connects to the origin of a URL. Rejects with the socket's error. */
  static async open(url: string): Promise<ClientConnection> {
    const connection = new ClientConnection(new URL(url))
    await once(connection.#socket, 'connect')
    return connection
  }

  get isOpen(): boolean {
    return !this.#socket.destroyed
  }

  /** One request at a time. Never rejects for what the server does: see `isComplete`. */
  get(path: string, options: GetOptions = {}): Promise<Received> {
    if (this.#current) throw new Error('a request is under way on this connection')
    const done = Promise.withResolvers<Received>()
    this.#current = {
      options,
      startedAt: performance.now(),
      done,
      hash: options.isHashed ? createHash('sha256') : undefined,
      head: '',
      status: 0,
      headers: new Map(),
      length: 0,
      bytes: 0,
      firstByteAt: Number.NaN,
    }
    const headers = { host: this.#host, ...options.headers }
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    this.#socket.write(`GET ${path} HTTP/1.1\r\n${lines.join('')}\r\n`)
    if (this.#socket.destroyed) this.#finish(false)
    return done.promise
  }

  [Symbol.dispose](): void {
    this.#socket.resetAndDestroy()
    this.#finish(false)
  }

  /** Returns whether to go on reading. */
  #take(bytes: Buffer): boolean {
    const current = this.#current
    if (!current) return true
    if (current.status !== 0) return this.#takeBody(current, bytes)
    current.head += bytes.toString('latin1')
    const end = current.head.indexOf('\r\n\r\n')
    if (end < 0) return true
    const bodyLength = current.head.length - end - 4
    parseHead(current, current.head.slice(0, end))
    return this.#takeBody(current, bytes.subarray(bytes.length - bodyLength))
  }

  #takeBody(current: Exchange, bytes: Buffer): boolean {
    if (bytes.length > 0 && current.bytes === 0) current.firstByteAt = performance.now()
    current.bytes += bytes.length
    current.hash?.update(bytes)
    current.options.onProgress?.(current.bytes)
    if (current.bytes >= current.length) this.#finish(true)
    return this.#keepsPace(current)
  }

  #keepsPace({ options, bytes, startedAt }: Exchange): boolean {
    if (options.bytesPerSecond === undefined || !this.#current) return true
    const waitMs = startedAt + (bytes / options.bytesPerSecond) * 1000 - performance.now()
    if (waitMs <= 1) return true
    setTimeout(() => this.#socket.resume(), waitMs)
    return false
  }

  #finish(isComplete: boolean): void {
    const current = this.#current
    if (!current) return
    this.#current = undefined
    const { startedAt, firstByteAt, status, headers, bytes, hash } = current
    current.done.resolve({
      status,
      headers,
      bytes,
      isComplete,
      firstByteMs: firstByteAt - startedAt,
      totalMs: performance.now() - startedAt,
      digest: hash && `sha256:${hash.digest('hex')}`,
    })
  }
}

/** Opens a connection for one GET. Aborting `signal` resets it; what came until then is returned. */
export async function get(
  url: string,
  options: GetOptions & { readonly signal?: AbortSignal } = {},
): Promise<Received> {
  options.signal?.throwIfAborted()
  const { pathname, search } = new URL(url)
  using connection = await ClientConnection.open(url)
  const leave = (): void => connection[Symbol.dispose]()
  options.signal?.addEventListener('abort', leave, { once: true })
  try {
    return await connection.get(`${pathname}${search}`, options)
  } finally {
    options.signal?.removeEventListener('abort', leave)
  }
}

function parseHead(exchange: Exchange, head: string): void {
  const [statusLine = '', ...lines] = head.split('\r\n')
  exchange.status = Number(statusLine.split(' ')[1])
  for (const line of lines) {
    const colon = line.indexOf(':')
    exchange.headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim())
  }
  exchange.length = Number(exchange.headers.get('content-length') ?? Number.NaN)
}
