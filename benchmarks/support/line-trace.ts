import type { LineObserver } from '../../test/support/slow-line.ts'

/** A request over the line. Moments are milliseconds since the epoch, as the client knows them. */
interface TracedRequest {
  readonly method: string
  /** Without the query. */
  readonly path: string
  readonly range: string | undefined
  readonly askedAt: number
  firstByteAt: number | undefined
  lastByteAt: number | undefined
  /** Of the answer, as they crossed the line. */
  bytes: number
}

export interface TracedConnection {
  readonly number: number
  readonly openedAt: number
  closedAt: number | undefined
  /** Where it leads: registry, token or cdn. */
  listener: string
  readonly requests: TracedRequest[]
}

/** Bytes that came over the line in one slot of time. */
export interface TracedSlot {
  readonly at: number
  bytes: number
  /** Connections that brought any. */
  readonly connections: number[]
}

export interface Trace {
  readonly connections: readonly TracedConnection[]
  readonly slots: readonly TracedSlot[]
}

/** Milliseconds of a slot. */
export const slotMs = 100

/** What happened on a line, and which requests crossed it. */
export class LineTrace implements LineObserver {
  readonly #halfTripMs: number
  readonly #connections = new Map<number, TracedConnection>()
  readonly #byPort = new Map<number, TracedConnection>()
  readonly #slots: TracedSlot[] = []

  constructor(roundTripMs: number) {
    this.#halfTripMs = roundTripMs / 2
  }

  opened(number: number): void {
    const connection = { number, openedAt: now(), closedAt: undefined, listener: '', requests: [] }
    this.#connections.set(number, connection)
  }

  reached(number: number, port: number): void {
    const connection = this.#connections.get(number)
    if (connection) this.#byPort.set(port, connection)
  }

  received(number: number, bytes: number): void {
    const at = now()
    const slot = this.#slotAt(at)
    slot.bytes += bytes
    if (!slot.connections.includes(number)) slot.connections.push(number)
    const request = this.#connections.get(number)?.requests.at(-1)
    if (!request) return
    request.firstByteAt ??= at
    request.lastByteAt = at
    request.bytes += bytes
  }

  closed(number: number): void {
    const connection = this.#connections.get(number)
    if (connection) connection.closedAt = now()
  }

  /** Bytes that a client sent, without TLS, as a listener gets them from a port. */
  sent(port: number, listener: string, bytes: Buffer): void {
    const connection = this.#byPort.get(port)
    const head = bytes.toString('latin1')
    const [, method, path] = /^([A-Z]+) ([^ ?]+)\S* HTTP\/1\.1\r\n/.exec(head) ?? []
    if (!connection || method === undefined || path === undefined) return
    connection.listener = listener
    const range = /^range: *(.*)\r$/im.exec(head)?.[1]
    const none = { firstByteAt: undefined, lastByteAt: undefined, bytes: 0 }
    connection.requests.push({ method, path, range, askedAt: now() - this.#halfTripMs, ...none })
  }

  /** All so far. */
  read(): Trace {
    return { connections: [...this.#connections.values()], slots: this.#slots }
  }

  #slotAt(at: number): TracedSlot {
    const from = Math.floor(at / slotMs) * slotMs
    const last = this.#slots.at(-1)
    if (last?.at === from) return last
    const slot = { at: from, bytes: 0, connections: [] }
    this.#slots.push(slot)
    return slot
  }
}

function now(): number {
  return performance.timeOrigin + performance.now()
}
