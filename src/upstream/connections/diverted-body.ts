import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { LentBytes } from '../../flow/lent-bytes.ts'
import type { Pieces } from '../../flow/pieces.ts'
import type { BodySource } from './body-source.ts'
import { Intake } from './intake.ts'
import type { SocketReader, SocketTap } from './socket-tap.ts'

export interface DivertedBodyOptions {
  readonly socket: Socket
  readonly tap: SocketTap
  /** Bytes. */
  readonly length: number
  /** What of it came with the head; copied at once. */
  readonly head: Uint8Array
  readonly pieces: Pieces
  readonly signal: AbortSignal | undefined
  readonly pace: ((bytes: number) => Promise<void>) | undefined
  /** Whether the connection may serve again, as far as the answer tells. */
  readonly staysOpen: boolean
  /** Called with the last byte; from then on a byte that belongs to nothing closes the connection. */
  readonly onFree: () => void
}

/** Bytes from which on a body is taken off its connection: more than one read brings with the head, which is parsed already. */
const divertedBytes = 64 * 1024

/** The length of a body that may be taken off its connection: one that is told by the sender, and coded in no way. */
export function divertedLength({
  statusCode,
  httpVersionMajor,
  headers,
}: IncomingMessage): number | undefined {
  if ((statusCode !== 200 && statusCode !== 206) || httpVersionMajor !== 1) return undefined
  const length = headers['content-length'] ?? ''
  if (!/^\d{1,15}$/.test(length) || headers['transfer-encoding'] !== undefined) return undefined
  return Number(length) >= divertedBytes ? Number(length) : undefined
}

/** A body that is read off its connection straight into pieces. Only its length ends it. */
export class DivertedBody implements BodySource<LentBytes>, SocketReader {
  readonly #options: DivertedBodyOptions
  readonly #intake: Intake
  #failure: { readonly error?: unknown } | undefined
  /** Whether there is nothing more to be done with the connection here. */
  #isOver = false

  /** Takes the connection at once: what it reads from now on comes here. */
  constructor(options: DivertedBodyOptions) {
    const { socket, tap, length, head, pieces, signal, pace } = options
    this.#options = options
    this.#intake = new Intake({
      pieces,
      length,
      pace,
      onRoom: () => {
        if (!this.#isOver) socket.resume()
      },
      onFailure: (error) => this.destroy(error),
    })
    tap.leadTo(this)
    socket.once('end', this.#close)
    socket.once('close', this.#onClose)
    signal?.addEventListener('abort', this.#close, { once: true })
    const goesOn = head.length === 0 || this.#intake.put(head)
    // It flows from now on, so that its end is noticed, and reads unless it has to wait.
    socket.resume()
    if (this.#intake.isComplete) this.#complete()
    else if (signal?.aborted) this.#close()
    else if (!goesOn) socket.pause()
  }

  get end(): { readonly error?: unknown } | undefined {
    return this.#intake.end
  }

  get hasBytes(): boolean {
    return this.#intake.hasBytes
  }

  take(): LentBytes | undefined {
    return this.#intake.take()
  }

  arrival(): Promise<void> {
    return this.#intake.arrival()
  }

  tail(): Uint8Array {
    return this.#intake.tail()
  }

  filled(count: number): boolean {
    const goesOn = this.#intake.filled(count)
    if (!this.#intake.isComplete) return goesOn
    this.#complete()
    return true
  }

  destroy(error: Error): void {
    this.#failure ??= { error }
    this.#close()
  }

  /** Ends the connection, and the body without an error after what has arrived. */
  stop(): void {
    this.#failure ??= {}
    this.#close()
  }

  leave(): void {
    this.#intake.leave()
    this.#close()
  }

  readonly #close = (): void => {
    if (!this.#isOver) this.#options.socket.destroy()
  }

  /** Not before: until then the socket may still read into a piece. */
  readonly #onClose = (): void => {
    const { socket, length } = this.#options
    this.#detach()
    this.#intake.finish(this.#failure ?? { error: cutOff(length, this.#intake.received, socket.errored) })
  }

  #complete(): void {
    const { socket, tap, staysOpen, onFree } = this.#options
    this.#detach()
    let surplus: { readonly error: Error } | undefined
    tap.leadTo({
      tail: () => undefined,
      filled: () => {
        surplus ??= { error: tooMuch(staysOpen) }
        socket.destroy()
        return false
      },
    })
    onFree()
    // What came together with the last byte has been read by then.
    setImmediate(() => this.#intake.finish(surplus))
  }

  #detach(): void {
    const { socket, signal } = this.#options
    this.#isOver = true
    socket.off('end', this.#close)
    socket.off('close', this.#onClose)
    signal?.removeEventListener('abort', this.#close)
  }
}

/** The same as of a body that comes through Node's HTTP client and got. */
function cutOff(length: number, received: number, cause: Error | null): Error {
  const message = `Content-Length mismatch: expected ${length} bytes, received ${received} bytes`
  const code = 'ERR_HTTP_CONTENT_LENGTH_MISMATCH'
  return Object.assign(new Error(message, cause ? { cause } : undefined), { code })
}

/** What Node's parser says of bytes behind a body. */
function tooMuch(staysOpen: boolean): Error {
  const [code, what] = staysOpen
    ? ['HPE_INVALID_CONSTANT', 'Expected HTTP/, RTSP/ or ICE/']
    : ['HPE_CLOSED_CONNECTION', 'Data after `Connection: close`']
  return Object.assign(new Error(`Parse Error: ${what}`), { code })
}
