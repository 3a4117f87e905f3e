import type { RequestListener } from 'node:http'
import type { Socket } from 'node:net'
import { clientKey } from './client-address.ts'

export interface PipeliningOptions {
  /** Requests that may wait behind another one on a connection. */
  readonly perConnection: number
  /** Requests that may wait on all connections together. */
  readonly inAll: number
  /** Hears of a connection that is about to be closed because more came than may wait. */
  readonly onExcess: (socket: Socket) => void
}

/** What waits of one client. */
interface Share {
  count: number
  readonly bySocket: Map<Socket, number>
}

/**
 * One answer at a time on a connection. Node hands over requests that a client sends behind one another (pipelining,
 * RFC 9112 9.3.2) as it reads them, and each would open its blob for an answer whose turn is far. No client of a
 * registry does that: a few may wait, and a connection on which more come is closed. Where the room for all is taken,
 * the client that has most of it loses a connection, so that nobody takes what the others need.
 */
export class Pipelining {
  readonly #options: PipeliningOptions
  /** Of those clients of whom something waits. */
  readonly #shares = new Map<string, Share>()
  readonly #watched = new WeakSet<Socket>()
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
      if (response.socket !== null) {
        onArrival(request, response)
        return next(request, response)
      }
      const client = clientKey(socket)
      if (!this.#admits(client, socket)) return this.#close(client, socket)
      onArrival(request, response)
      this.#wait(client, socket)
      response.once('socket', () => {
        this.#leave(client, socket, 1)
        next(request, response)
      })
    }
  }

  #admits(client: string, socket: Socket): boolean {
    const { perConnection, inAll } = this.#options
    const share = this.#shares.get(client)
    if ((share?.bySocket.get(socket) ?? 0) >= perConnection) return false
    if (this.#count < inAll) return true
    let [most, largest]: [string | undefined, Share | undefined] = [client, share]
    for (const [other, one] of this.#shares) {
      if (one.count > (largest?.count ?? 0)) [most, largest] = [other, one]
    }
    const [first] = largest?.bySocket.keys() ?? []
    if (first === undefined || most === undefined || most === client) return false
    this.#close(most, first)
    return true
  }

  #close(client: string, socket: Socket): void {
    this.#options.onExcess(socket)
    socket.destroy()
    // Its end is told later, and somebody needs the room now.
    this.#leaveWhole(client, socket)
  }

  #wait(client: string, socket: Socket): void {
    if (!this.#watched.has(socket)) {
      this.#watched.add(socket)
      socket.once('close', () => this.#leaveWhole(client, socket))
    }
    const share = this.#shares.get(client) ?? { count: 0, bySocket: new Map() }
    this.#shares.set(client, share)
    share.bySocket.set(socket, (share.bySocket.get(socket) ?? 0) + 1)
    share.count += 1
    this.#count += 1
  }

  #leaveWhole(client: string, socket: Socket): void {
    const count = this.#shares.get(client)?.bySocket.get(socket)
    if (count !== undefined) this.#leave(client, socket, count)
  }

  #leave(client: string, socket: Socket, count: number): void {
    const share = this.#shares.get(client)
    const left = (share?.bySocket.get(socket) ?? 0) - count
    if (!share || left < 0) return
    if (left > 0) share.bySocket.set(socket, left)
    else share.bySocket.delete(socket)
    share.count -= count
    this.#count -= count
    if (share.count === 0) this.#shares.delete(client)
  }
}
