import type { RequestListener } from 'node:http'
import type { Socket } from 'node:net'

export interface PipeliningOptions {
  /** Requests that may wait behind another one on a connection. */
  readonly perConnection: number
  /** Requests that may wait on all connections together. */
  readonly inAll: number
  /** Hears of a connection that was closed because more came on it. */
  readonly onExcess: (socket: Socket) => void
}

/**
 * One answer at a time on a connection. Node hands over requests that a client sends behind one another (pipelining,
 * RFC 9112 9.3.2) as it reads them, and each would open its blob for an answer whose turn is far. No client of a
 * registry does that: a few may wait, and a connection on which more come is closed.
 */
export class Pipelining {
  readonly #options: PipeliningOptions
  readonly #waiting = new WeakMap<Socket, number>()
  #count = 0

  constructor(options: PipeliningOptions) {
    this.#options = options
  }

  /** `onArrival` sees a request at once, `next` when all answers before it are sent; never, if it is closed before. */
  around(onArrival: RequestListener, next: RequestListener): RequestListener {
    return (request, response) => {
      const { socket } = request
      // The rest of what was read from a connection that was closed.
      if (socket.destroyed) return
      const isItsTurn = response.socket !== null
      if (!isItsTurn && this.#isFull(socket)) {
        socket.destroy()
        this.#options.onExcess(socket)
        return
      }
      onArrival(request, response)
      if (isItsTurn) return next(request, response)
      this.#wait(socket)
      response.once('socket', () => {
        this.#leave(socket, 1)
        next(request, response)
      })
    }
  }

  #isFull(socket: Socket): boolean {
    const { perConnection, inAll } = this.#options
    return this.#count >= inAll || (this.#waiting.get(socket) ?? 0) >= perConnection
  }

  #wait(socket: Socket): void {
    const waiting = this.#waiting.get(socket)
    if (waiting === undefined) {
      socket.once('close', () => this.#leave(socket, this.#waiting.get(socket) ?? 0))
    }
    this.#waiting.set(socket, (waiting ?? 0) + 1)
    this.#count += 1
  }

  #leave(socket: Socket, count: number): void {
    this.#waiting.set(socket, (this.#waiting.get(socket) ?? 0) - count)
    this.#count -= count
  }
}
