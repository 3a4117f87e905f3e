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
  /** How many connections are open or on their way, by key. */
  readonly #open = new Map<string, number>()
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

  /** Makes a connection, and notes what it may be used for again. Rejects as `connect` does. */
  async open(key: string, connect: () => Promise<Socket>): Promise<Socket> {
    this.#count(key, 1)
    try {
      const socket = await connect()
      this.#keys.set(socket, key)
      socket.once('close', () => this.#count(key, -1))
      return socket
    } catch (error) {
      this.#count(key, -1)
      throw error
    }
  }

  /** Connections with that key, whoever uses them, and those on their way. */
  openCount(key: string): number {
    return this.#open.get(key) ?? 0
  }

  /** Those that lie idle here. */
  idleCount(key: string): number {
    return this.#idle.count(key)
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

  /** One that has not served yet is there for whoever needs it, for so many milliseconds. A byte that comes before closes it. */
  keep(socket: Socket, key: string, forMs: number): void {
    const onBytes = (): void => void socket.destroy()
    socket.on('data', onBytes)
    this.#idle.put(socket, key, forMs, () => socket.off('data', onBytes))
  }

  /** One that lies idle, for Node's HTTP client. */
  async again(key: string): Promise<Socket | undefined> {
    const socket = await this.#idle.take(key)
    this.tapOf(socket ?? null)?.leadTo(undefined)
    return socket
  }

  /** Closes those that lie idle and have such a key. */
  dropIdle(isDropped: (key: string) => boolean): void {
    this.#idle.drop(isDropped)
  }

  #count(key: string, change: 1 | -1): void {
    const count = this.openCount(key) + change
    if (count > 0) this.#open.set(key, count)
    else this.#open.delete(key)
  }

  [Symbol.dispose](): void {
    this.#idle[Symbol.dispose]()
    for (const socket of this.#taken) socket.destroy()
  }
}
