import type { RequestListener, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Logger } from 'pino'
import { abortable } from '../flow/abortable.ts'
import { Occasionally } from '../flow/occasionally.ts'
import { RegistryError } from '../oci/error.ts'
import { ample, type Descriptors } from './descriptors.ts'
import type { LetGoReason } from './metrics.ts'
import type { RequestContext } from './request-context.ts'

export interface AdmissionOptions {
  readonly descriptors: Descriptors
  /** Milliseconds for which a request waits for its turn. */
  readonly patienceMs: number
  /** Milliseconds without a request after which a connection makes room for one that wants in. */
  readonly idleMs?: number
  /** Gives back what is open for later use: somebody waits for it. */
  readonly onShortage: () => void
  /** Hears of each connection that is about to be closed without an answer. */
  readonly onLetGo: (reason: LetGoReason, socket: Socket) => void
  readonly logger: Logger
}

/** Descriptors that are opened in passing: a name is looked up, a folder synced, a thread begun. */
const spare = 8
/** What is open for nobody who is here: fills that go on, files of uploads that rest, idle connections to upstreams. */
const background = 256
/** What a request may open before its answer begins: a file, its journal, and a connection to an upstream. */
const perRequest = 3
/** Connections that are told to come again, at a time: each is there until its request has come. */
const refusals = { least: 4, most: 64 } as const
/** Descriptors that are not given to those who are turned away: with the last one everybody who waits would be let go. */
const lastOnes = 4
/** With fewer free the loop stands still for those who are turned away: else it is cheaper to let one of them go. */
const few = 64
/** Milliseconds that the loop stands still, at most, for requests of those who are turned away to come. */
const mostPauseMs = 200
const defaultIdleMs = 1000
const reviewMs = 20

/** A connection. */
interface Guest {
  readonly socket: Socket
  /** There was no room for it: its request is told to come again. */
  readonly isTurnedAway: boolean
  /** Requests on it that are not answered. */
  requests: number
  /** To the latest request on it; undefined: nothing was ever asked. */
  answer: ServerResponse | undefined
  /** Milliseconds of `performance.now()`. */
  idleSince: number
}

interface Waiting {
  readonly client: string
  readonly response: ServerResponse
  readonly given: PromiseWithResolvers<boolean>
}

/**
 * Shares out the descriptors that the process may have. Node cannot be told not to accept: where none is left, libuv
 * accepts whatever waits and closes it without a word (`uv__emfile_trick`), and files and upstreams fail. So a part of
 * them is for connections, and who comes beyond that is told to come again (503); the rest is for what requests open,
 * which wait until theirs is sure to be there. With the limits that systems have nobody ever notices.
 */
export class Admission {
  readonly #options: Required<AdmissionOptions>
  readonly #guests = new Map<string | Socket, Guest>()
  /** In the order in which they came. */
  readonly #turnedAway = new Set<Guest>()
  /** The requests that were let in, by their client. */
  readonly #atWork = new Map<ServerResponse, string>()
  /** In the order in which they came. */
  readonly #waiting = new Set<Waiting>()
  readonly #told = new Occasionally()
  #left = Number.POSITIVE_INFINITY
  #connections = Number.POSITIVE_INFINITY
  #refusals: number = refusals.most
  #review: NodeJS.Timeout | undefined

  constructor(options: AdmissionOptions) {
    this.#options = { idleMs: defaultIdleMs, ...options }
  }

  /** Shares out what is left by now, when all that is always open is. */
  share(): void {
    const { descriptors, logger } = this.#options
    const left = Math.max(0, descriptors.limit - descriptors.open() - spare)
    this.#left = left
    this.#refusals = Math.max(refusals.least, Math.min(refusals.most, Math.floor(left / 8)))
    this.#connections = Math.max(2, Math.floor((left - this.#refusals) / 2))
    if (left >= ample) return
    logger.warn(
      { descriptors: descriptors.limit, connections: this.#connections },
      'few files and connections may be open at a time: raise the limit of open files (ulimit -n, LimitNOFILE)',
    )
  }

  /** Notes a connection as it is accepted. */
  enter(socket: Socket): void {
    const isFull = this.#guests.size - this.#turnedAway.size >= this.#connections
    const isTurnedAway = isFull && !this.#closeIdle()
    const guest: Guest = {
      socket,
      isTurnedAway,
      requests: 0,
      answer: undefined,
      idleSince: performance.now(),
    }
    const key = keyOf(socket)
    this.#guests.set(key, guest)
    socket.once('close', () => {
      this.#guests.delete(key)
      this.#turnedAway.delete(guest)
      this.#serve()
    })
    if (isTurnedAway) this.#turnAway(guest)
  }

  /**
   * Closes the connections on which nothing was ever asked, which clients open to have them at hand: to Node they are at
   * work with their first request, and a server that closes would wait for it.
   */
  closeUnasked(): void {
    for (const { socket, answer } of this.#guests.values()) if (!answer) socket.destroy()
  }

  /** Knows of the requests on each connection, and has those closed with the answer that others need. */
  around(next: RequestListener): RequestListener {
    return (request, response) => {
      const guest = this.#guests.get(keyOf(request.socket))
      if (guest) {
        guest.requests += 1
        guest.answer = response
        if (guest.isTurnedAway || this.#isCrowded) response.shouldKeepAlive = false
        response.once('close', () => {
          guest.requests -= 1
          guest.idleSince = performance.now()
        })
      }
      next(request, response)
    }
  }

  /**
   * Waits until what a request opens is sure to be there. Throws RegistryError UNAVAILABLE (503) where that takes too long,
   * or there was no room for its connection; the reason of its signal when that aborts.
   */
  async turn({ request, response, clientKey: client, signal }: RequestContext): Promise<void> {
    if (this.#guests.get(keyOf(request.socket))?.isTurnedAway) throw refusal()
    if (this.#isAmple) return
    if (this.#waiting.size === 0 && this.#hasRoom) return this.#begin(response, client)
    const waiting: Waiting = { client, response, given: Promise.withResolvers() }
    this.#waiting.add(waiting)
    // What fills and idle connections to upstreams give back nobody tells.
    this.#options.onShortage()
    this.#review ??= setInterval(() => this.#serve(), reviewMs).unref()
    const timer = setTimeout(() => waiting.given.resolve(false), this.#options.patienceMs).unref()
    try {
      if (!(await abortable(waiting.given.promise, signal))) throw refusal()
    } finally {
      clearTimeout(timer)
      this.#waiting.delete(waiting)
      if (this.#waiting.size === 0) {
        clearInterval(this.#review)
        this.#review = undefined
      }
    }
  }

  /** Kept connections would soon be all that there may be. */
  get #isCrowded(): boolean {
    return this.#guests.size > this.#connections / 2
  }

  /** Whatever is asked for on all connections, it is there. */
  get #isAmple(): boolean {
    return this.#guests.size * (1 + perRequest) + background < this.#left
  }

  /** For one more request, where all connections come that may. */
  get #hasRoom(): boolean {
    if (this.#atWork.size === 0) return true
    const { limit, open } = this.#options.descriptors
    const others = open() - this.#guests.size + this.#promised + perRequest + spare
    return others + this.#connections + this.#refusals <= limit
  }

  /** What requests may still open; what those have opened whose answer has begun is seen. */
  get #promised(): number {
    let beginning = 0
    for (const response of this.#atWork.keys()) if (!response.headersSent) beginning += 1
    return beginning * perRequest
  }

  #begin(response: ServerResponse, client: string): void {
    if (response.closed) return
    this.#atWork.set(response, client)
    response.once('close', () => {
      this.#atWork.delete(response)
      this.#serve()
    })
  }

  #serve(): void {
    while (this.#waiting.size > 0 && this.#hasRoom) {
      const next = this.#next()
      if (!next) return
      this.#waiting.delete(next)
      this.#begin(next.response, next.client)
      next.given.resolve(true)
    }
    if (this.#waiting.size > 0) this.#options.onShortage()
  }

  /** Whoever has the least, then who came first. */
  #next(): Waiting | undefined {
    const counts = new Map<string, number>()
    for (const client of this.#atWork.values()) counts.set(client, (counts.get(client) ?? 0) + 1)
    const has = ({ client }: Waiting): number => counts.get(client) ?? 0
    return [...this.#waiting].reduce<Waiting | undefined>(
      (best, one) => (best === undefined || has(one) < has(best) ? one : best),
      undefined,
    )
  }

  /** The one that was kept longest for nothing. */
  #closeIdle(): boolean {
    const before = performance.now() - this.#options.idleMs
    let idlest: Guest | undefined
    for (const guest of this.#guests.values()) {
      if (guest.requests > 0 || guest.isTurnedAway || guest.idleSince > before) continue
      if (guest.idleSince < (idlest?.idleSince ?? Number.POSITIVE_INFINITY)) idlest = guest
    }
    idlest?.socket.destroy()
    return idlest !== undefined
  }

  /** Where many come at once, the loop waits for their requests, which lets the kernel keep the others. */
  #turnAway(guest: Guest): void {
    const { descriptors, onLetGo, logger } = this.#options
    this.#turnedAway.add(guest)
    this.#told.do('', () =>
      logger.warn(
        { connections: this.#connections },
        'as many connections are open as may be, and more are told to come again: raise the limit of open files (ulimit -n, LimitNOFILE)',
      ),
    )
    const free = descriptors.limit - descriptors.open()
    const excess = this.#turnedAway.size - this.#refusals / 2
    if (excess > 0 && free < few) Atomics.wait(sleeper, 0, 0, Math.min(mostPauseMs, 2 ** (excess + 1)))
    if (free >= lastOnes && this.#turnedAway.size <= refusals.most) return
    // Best one that has its answer, and would only say more.
    const answered = [...this.#turnedAway].find(({ answer }) => answer?.headersSent)
    const [oldest = guest] = this.#turnedAway
    if (!answered) onLetGo('crowd', oldest.socket)
    const { socket } = answered ?? oldest
    socket.destroy()
  }
}

/** Nobody ever wakes it. */
const sleeper = new Int32Array(new SharedArrayBuffer(4))

/** On TLS a request tells of another socket than the server does, with the same addresses. */
function keyOf(socket: Socket): string | Socket {
  const { remoteAddress, remotePort, localAddress, localPort } = socket
  return remotePort === undefined ? socket : `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`
}

function refusal(): RegistryError {
  const message = 'the mirror has as many clients as it can have at once: try again in a moment'
  return new RegistryError('UNAVAILABLE', message, { status: 503, retryAfterSeconds: 1 })
}
