import type { Socket } from 'node:net'

/** Takes what a connection brings, in place of Node's HTTP client. */
export interface SocketReader {
  /** Where the next bytes go; undefined: anywhere, they are not needed. */
  tail(): Uint8Array | undefined
  /** So many bytes were put there. False: the socket reads no more until it is resumed. */
  filled(count: number): boolean
}

/**
 * What one connection reads, into memory that is used again: for Node's HTTP client, or for a reader that has taken the
 * connection over. Memory of its own for each read would be external to the heap of V8, which collects for every few megabytes.
 */
export class SocketTap {
  /** For the options of `net.connect` and `tls.connect`. */
  readonly onread: {
    readonly buffer: () => Uint8Array
    readonly callback: (count: number, bytes: Uint8Array) => boolean
  }
  #socket: Socket | undefined
  #reader: SocketReader | undefined
  #isGivingOut = false

  /** `shared` is what all connections may read into whose bytes are gone, or copied, when the call returns. */
  constructor(shared: Buffer) {
    this.onread = {
      buffer: () => this.#reader?.tail() ?? shared,
      callback: (count) => this.#reader?.filled(count) ?? this.#emit(shared.subarray(0, count)),
    }
  }

  /** To be called once, before anything is read. */
  attach(socket: Socket): void {
    this.#socket = socket
  }

  /** Whether what was just read is being given out: only then the place of the next read is not chosen yet. */
  get isGivingOut(): boolean {
    return this.#isGivingOut
  }

  /** What comes from now on goes to `reader`, which may be set while `isGivingOut` only, or back to Node's HTTP client. */
  leadTo(reader: SocketReader | undefined): void {
    this.#reader = reader
  }

  /** As a stream would. The parser has copied what it keeps when this returns. */
  #emit(bytes: Buffer): boolean {
    const socket = this.#socket
    if (!socket) return false
    // Before there is a request somebody may speak already; it waits in the stream.
    if (socket.listenerCount('data') === 0 || socket.readableLength > 0)
      return socket.push(Buffer.from(bytes))
    this.#isGivingOut = true
    try {
      socket.emit('data', bytes)
    } finally {
      this.#isGivingOut = false
    }
    return true
  }
}
