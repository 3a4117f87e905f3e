import type { Socket } from 'node:net'

/** A connection that may serve again. */
interface Idle {
  readonly socket: Socket
  /** To whom it leads, and how. */
  readonly key: string
  readonly onClose: () => void
  readonly onTaken: (() => void) | undefined
}

/** Connections in all: more than bring blobs at a time. */
const maximum = 32

/**
 * Connections that were taken from Node's HTTP client and may serve again. Whoever puts one here sees to it that a byte that
 * comes while it lies here closes it: nobody has asked for it.
 */
export class IdleConnections implements Disposable {
  readonly #idle = new Map<Socket, Idle>()
  #isClosed = false

  /** How many with that key lie here. */
  count(key: string): number {
    let count = 0
    for (const idle of this.#idle.values()) if (idle.key === key) count += 1
    return count
  }

  /** Keeps a connection for so many milliseconds at most, or until its other end closes it. `onTaken`: just before it is given out. */
  put(socket: Socket, key: string, forMs: number, onTaken?: () => void): void {
    if (this.#isClosed) return void socket.destroy()
    const onClose = (): void => void this.#idle.delete(socket)
    this.#idle.set(socket, { socket, key, onClose, onTaken })
    socket.once('end', destroy)
    socket.once('timeout', destroy)
    socket.once('close', onClose)
    socket.setTimeout(forMs)
    socket.unref()
    // It reads, so that it notices what becomes of it.
    socket.resume()
    const [oldest] = this.#idle.keys()
    if (this.#idle.size > maximum) oldest?.destroy()
  }

  /** The one that was used last, if there is any that nothing has happened to. */
  async take(key: string): Promise<Socket | undefined> {
    for (;;) {
      const found = [...this.#idle.values()].findLast((idle) => idle.key === key)
      if (!found) return undefined
      const { socket, onClose, onTaken } = found
      this.#idle.delete(socket)
      // What has reached it by now, such as more than its last answer had, is read first.
      await new Promise(setImmediate)
      socket.off('end', destroy)
      socket.off('timeout', destroy)
      socket.off('close', onClose)
      onTaken?.()
      if (this.#isClosed) socket.destroy()
      if (socket.destroyed || !socket.writable) continue
      socket.ref()
      return socket
    }
  }

  /** Closes those with such a key. */
  drop(isDropped: (key: string) => boolean): void {
    for (const { socket, key } of [...this.#idle.values()]) if (isDropped(key)) socket.destroy()
  }

  [Symbol.dispose](): void {
    this.#isClosed = true
    this.drop(() => true)
  }
}

function destroy(this: Socket): void {
  this.destroy()
}
