import type { RequestListener, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/**
 * The answers under way, one a connection. A server that closes leaves kept connections to whoever goes on to ask on
 * them: each is told to be closed with its next answer instead.
 */
export class Answers {
  readonly #current = new Map<Socket, ServerResponse>()
  #closeIdle: (() => void) | undefined

  /** To be called when it is the turn of an answer on its connection. */
  around(next: RequestListener): RequestListener {
    return (request, response) => {
      const { socket } = request
      this.#current.set(socket, response)
      response.once('close', () => {
        if (this.#current.get(socket) === response) this.#current.delete(socket)
        // Its headers had left before, and promised that the connection stays.
        if (this.#closeIdle) setImmediate(this.#closeIdle)
      })
      if (this.#closeIdle) response.shouldKeepAlive = false
      next(request, response)
    }
  }

  /** The answer that is under way on a connection. */
  current(socket: Socket): ServerResponse | undefined {
    return this.#current.get(socket)
  }

  /** Has each connection closed with the answer that is under way, and `closeIdle` called whenever one has ended. */
  closeConnections(closeIdle: () => void): void {
    this.#closeIdle = closeIdle
    for (const response of this.#current.values()) response.shouldKeepAlive = false
  }
}
