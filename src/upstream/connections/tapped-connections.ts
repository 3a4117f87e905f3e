import type { Socket } from 'node:net'
import { IdleConnections } from './idle-connections.ts'
import { SocketTap } from './socket-tap.ts'

/** Bytes that are read at a time for Node's HTTP client. */
const readBytes = 64 * 1024

/** The connections whose bytes can be led elsewhere than to Node's HTTP client, and what becomes of them when they are. */
export class TappedConnections implements Disposable {
  readonly #shared = Buffer.allocUnsafeSlow(readBytes)
  readonly #taps = new WeakMap<Socket, SocketTap>()
  /** To whom a connection leads, and how. */
  readonly #keys = new WeakMap<Socket, string>()
  /** Those that bring a body past Node's HTTP client. */
  readonly #taken = new Set<Socket>()
  readonly #idle = new IdleConnections()

  /** Begins a connection with what has to be among its options. */
  begin(connect: (onread: SocketTap['onread']) => Socket): Socket {
    const tap = new SocketTap(this.#shared)
    const socket = connect(tap.onread)
    tap.attach(socket)
    this.#taps.set(socket, tap)
    socket.once('close', () => this.#taken.delete(socket))
    return socket
  }

  /** Notes what a connection may be used for again. */
  name(socket: Socket, key: string): void {
    this.#keys.set(socket, key)
  }

  /** Undefined where its bytes cannot be led elsewhere, such as those of a tunnel. */
  tapOf(socket: Socket | null): SocketTap | undefined {
    return socket ? this.#taps.get(socket) : undefined
  }

  /** It is no longer Node's HTTP client's: to be given back, or closed. */
  take(socket: Socket): void {
    this.#taken.add(socket)
  }

  /** It may serve again within so many milliseconds; 0: not at all. */
  giveBack(socket: Socket, forMs: number): void {
    this.#taken.delete(socket)
    const key = this.#keys.get(socket)
    if (key === undefined || forMs <= 0) socket.destroySoon()
    else this.#idle.put(socket, key, forMs)
  }

  /** One that has served and was given back, for Node's HTTP client. */
  async again(key: string): Promise<Socket | undefined> {
    const socket = await this.#idle.take(key)
    this.tapOf(socket ?? null)?.leadTo(undefined)
    return socket
  }

  /** Closes those that lie idle and have such a key. */
  dropIdle(isDropped: (key: string) => boolean): void {
    this.#idle.drop(isDropped)
  }

  [Symbol.dispose](): void {
    this.#idle[Symbol.dispose]()
    for (const socket of this.#taken) socket.destroy()
  }
}
