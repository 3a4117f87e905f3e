import http from 'node:http'
import https from 'node:https'
import { isIP, type Socket } from 'node:net'
import type { SecureContext } from 'node:tls'
import { abortable, delay } from '../../flow/abortable.ts'
import { afterSilence } from '../../flow/after-silence.ts'
import { type Pulse, stepOf } from '../../flow/pulse.ts'
import type { AddressPolicy } from './address-policy.ts'
import { isShortOfDescriptors, raceAddresses } from './address-race.ts'
import { ComingConnections } from './coming-connections.ts'
import { nameFailure } from './connection-failure.ts'
import { type Destination, destinationOf, keyPrefix, type Protocol } from './destination.ts'
import { idleMs } from './kept-ms.ts'
import type { Names } from './names.ts'
import type { ForwardProxy, ProxySettings } from './proxy-settings.ts'
import type { RoundTrips } from './round-trips.ts'
import { TappedConnections } from './tapped-connections.ts'
import { openTunnel, ProxyError } from './tunnel.ts'

export interface AgentsOptions {
  readonly names: Names
  readonly addresses: AddressPolicy
  readonly proxies: ProxySettings
  readonly roundTrips: RoundTrips
  /** Asked for with the first connection that needs one: the authorities take 4 MB. */
  readonly secureContext: () => SecureContext
  /** Milliseconds in which a tunnel must open, and in which a TLS handshake must end. */
  readonly stallMs: number
  readonly userAgent: string
}

/** What the agents look at in the options of a request, beside Node's own. */
export interface ConnectionOptions {
  readonly pulse?: Pulse | undefined
  /** Called where the connection has served before and was kept by us, which Node does not know of. */
  readonly onReuse?: (() => void) | undefined
}

/** Connections that are to be ready before they are needed. */
export interface Spares {
  /** How many that nobody uses. */
  readonly free: number
  /** How many may lead there in all, used or not. */
  readonly most: number
  /** Milliseconds for which those that are opened for this wait for a use. */
  readonly forMs: number
}

type CreateOptions = http.ClientRequestArgs &
  ConnectionOptions & { readonly servername?: string | undefined; readonly sessionKey?: string }

/** Milliseconds. A resolver asks again after 5 s, another server after that, and gives up a little after 15 s. */
const lookupMs = 20_000
/** Milliseconds: four tries of a SYN, at 0, 1, 3 and 7 s; satellites take more than a second for one. */
const connectMs = 10_000
/** Milliseconds for which descriptors may be short before it is told; and between two tries. */
const shortage = { forMs: 5000, pauseMs: 50 } as const
/** Milliseconds without a byte after which the kernel asks whether the other end is there. Node's default, every second, is traffic. */
const keepAliveMs = 30_000

/**
 * How a connection to an upstream is made, the one place: names, addresses (raced), forward proxies, tunnels, TLS. The
 * agents give a request its socket only when it is ready for it, so an error names the step that failed.
 */
export class Agents implements Disposable {
  readonly http: http.Agent
  readonly https: https.Agent
  readonly tapped = new TappedConnections()
  readonly #coming = new ComingConnections()
  readonly #options: AgentsOptions
  readonly #closed = new AbortController()

  constructor(options: AgentsOptions) {
    this.#options = options
    const shared = { keepAlive: true, keepAliveMsecs: keepAliveMs, timeout: idleMs }
    this.http = new http.Agent(shared)
    this.https = new https.Agent(shared)
    this.http.createConnection = (args, callback) => this.#create('http:', args, callback)
    this.https.createConnection = (args, callback) => this.#create('https:', args, callback)
  }

  /** Opens connections to where a URL leads, as far as too few are ready or on their way. Failures are nobody's. */
  prepare(url: URL, { free, most, forMs }: Spares): void {
    const destination = destinationOf(url, this.#options.proxies)
    const { protocol, host, key } = destination
    const agent = protocol === 'https:' ? this.https : this.http
    const prefix = keyPrefix(url)
    const idle = Object.entries(agent.freeSockets).flatMap(([name, sockets]) =>
      name.startsWith(prefix) ? (sockets ?? []) : [],
    )
    const ready = idle.length + this.tapped.idleCount(key) + this.#coming.count(key)
    const count = Math.min(free - ready, most - this.tapped.openCount(key))
    const servername = isIP(host) ? '' : host
    // As Node's agents have it.
    const args = { servername, noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMs }
    for (let begun = 0; begun < count; begun += 1) {
      const open = (pulse: Pulse) => this.#open(destination, { ...args, pulse })
      this.#coming.begin(key, open, (socket) => this.tapped.keep(socket, key, forMs))
    }
  }

  /** Closes the connections that nobody uses: to one host, since one of them was dead and all are as old, or all. */
  dropIdle(url?: URL): void {
    const prefix = url ? keyPrefix(url) : ''
    for (const agent of [this.http, this.https]) {
      for (const [key, sockets] of Object.entries(agent.freeSockets)) {
        if (!key.startsWith(prefix)) continue
        for (const socket of [...(sockets ?? [])]) socket.destroy()
      }
    }
    this.tapped.dropIdle((key) => key.startsWith(prefix))
    this.#coming.drop((key) => key.startsWith(prefix))
  }

  [Symbol.dispose](): void {
    this.#closed.abort(new Error('the mirror is stopping'))
    this.http.destroy()
    this.https.destroy()
    this.tapped[Symbol.dispose]()
  }

  /** Node's contract: `callback` gets the socket, or the error that the request then fails with. */
  #create(
    protocol: Protocol,
    args: CreateOptions,
    callback?: (error: Error | null, socket: Socket) => void,
  ): undefined {
    this.#connect(protocol, args).then(
      (socket) => callback?.(null, socket),
      (error: Error) => callback?.(error, undefined as never),
    )
  }

  async #connect(protocol: Protocol, args: CreateOptions): Promise<Socket> {
    const { host, hostname, port } = args
    const name = (host ?? hostname ?? 'localhost').replace(/^[^[].*:.*$/, '[$&]')
    const destination = destinationOf(new URL(`${protocol}//${name}:${port}`), this.#options.proxies)
    const kept = await this.tapped.again(destination.key)
    if (kept) {
      kept.setTimeout(idleMs)
      args.onReuse?.()
      return kept
    }
    return await (this.#coming.take(destination.key) ?? this.#open(destination, args))
  }

  #open(destination: Destination, args: CreateOptions): Promise<Socket> {
    const { protocol, proxy, key, host, port, at, origin } = destination
    const target = { ...args, host, port, sessionKey: at }
    return this.tapped.open(key, async () => {
      const socket = proxy
        ? await this.#throughProxy(proxy, protocol, target, at)
        : await this.#reach(protocol, { ...target, origin })
      // What broke while it was handed from one to the next.
      if (socket.destroyed) throw socket.errored ?? hangUp()
      return socket
    })
  }

  async #throughProxy(
    proxy: ForwardProxy,
    protocol: Protocol,
    args: CreateOptions,
    at: string,
  ): Promise<Socket> {
    const { pulse } = args
    const socket = await this.#reachProxy(proxy, pulse, protocol === 'https:')
    if (protocol === 'http:') return socket
    const { userAgent, stallMs } = this.#options
    const tunnel = this.#within(stallMs, `the proxy ${proxy.label} opened no tunnel to ${at}`, (signal) =>
      openTunnel({ proxy, socket, target: at, userAgent, signal }),
    )
    await stepOf(pulse, tunnel)
    return this.#secured(this.#begin('https:', { ...args, socket }), pulse)
  }

  async #reachProxy(proxy: ForwardProxy, pulse: Pulse | undefined, carriesTunnel: boolean): Promise<Socket> {
    const { protocol, host, port } = proxy
    try {
      // Its own servername: the one in the arguments is the upstream's.
      const servername = isIP(host) ? '' : host
      const sessionKey = `${host}:${port}`
      const settings = { host, port, servername, sessionKey, pulse, keepAlive: true, carriesTunnel }
      return await this.#reach(protocol, settings, (_host, found) => found)
    } catch (error) {
      if (this.#closed.signal.aborted) throw error
      const { code, message } = error as NodeJS.ErrnoException
      throw new ProxyError(
        proxy,
        `cannot be reached: ${nameFailure(error as NodeJS.ErrnoException, host) ?? message}`,
        {
          code: code === 'ETIMEDOUT' ? code : 'EPROXY',
          cause: error,
        },
      )
    }
  }

  /** A connection to the host itself, without a proxy between. */
  async #reach(
    protocol: Protocol,
    args: CreateOptions & { host: string; port: number; origin?: string; carriesTunnel?: boolean },
    select: AddressPolicy['select'] = (host, found) => this.#options.addresses.select(host, found),
  ): Promise<Socket> {
    const { host, port, pulse, origin } = args
    const lookup = this.#within(lookupMs, `no name server told the address of ${host}`, (signal) =>
      this.#options.names.lookup(host, signal),
    )
    const found = await stepOf(pulse, lookup)
    const connecting = this.#whenDescriptorsAreFree(() =>
      raceAddresses(select(host, found), {
        port,
        open: (address) => this.#timed(origin, this.#begin(protocol, { ...args, host: address })),
        timeoutMs: connectMs,
        signal: this.#closed.signal,
      }),
    )
    const socket = await stepOf(pulse, connecting)
    return protocol === 'https:' ? await this.#secured(socket, pulse) : socket
  }

  /** The handshake of TCP is a round trip to the other end, unless a proxy is between. */
  #timed(origin: string | undefined, socket: Socket): Socket {
    if (origin === undefined) return socket
    const begunAt = performance.now()
    socket.once('connect', () => this.#options.roundTrips.noteConnect(origin, performance.now() - begunAt))
    return socket
  }

  /** They are back as soon as a client is served; and what is kept for later is worth less than what is asked for now. */
  async #whenDescriptorsAreFree(connect: () => Promise<Socket>): Promise<Socket> {
    const startedAt = performance.now()
    for (;;) {
      try {
        return await connect()
      } catch (error) {
        const isShort = isShortOfDescriptors(error as NodeJS.ErrnoException)
        if (!isShort || performance.now() - startedAt > shortage.forMs) throw error
        this.dropIdle()
        await delay(shortage.pauseMs, this.#closed.signal)
      }
    }
  }

  /** As the agent of that protocol would without us; it keeps the TLS sessions. `host` is an address, or of a tunnel. */
  #begin(protocol: Protocol, args: CreateOptions & { socket?: Socket; carriesTunnel?: boolean }): Socket {
    const agent = protocol === 'https:' ? this.https : this.http
    const { createConnection } = protocol === 'https:' ? https.Agent.prototype : http.Agent.prototype
    const secureContext = protocol === 'https:' ? this.#options.secureContext() : undefined
    // By what Node's agent keeps sessions: of ours, whoever opens a connection to the same name goes on with them.
    const sessions = { _agentKey: args.sessionKey }
    const own = { secureContext, path: null, lookup: undefined, autoSelectFamily: false }
    const settings = { ...args, ...sessions, ...own }
    const connect = (more: object) =>
      createConnection.call(agent, { ...settings, ...more } as never) as Socket
    // TLS takes the bytes of what lies under it as a stream gives them.
    return args.socket || args.carriesTunnel
      ? connect({})
      : this.tapped.begin((onread) => connect({ onread }))
  }

  /** Waits for the end of a TLS handshake. */
  async #secured(socket: Socket, pulse: Pulse | undefined): Promise<Socket> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    socket.once('secureConnect', resolve)
    socket.on('error', reject)
    socket.once('close', () => reject(hangUp()))
    if (socket.destroyed) reject(socket.errored ?? hangUp())
    const { stallMs } = this.#options
    try {
      const handshake = this.#within(stallMs, 'the TLS handshake did not end', () => promise)
      await stepOf(pulse, handshake)
    } catch (error) {
      socket.destroy()
      throw error
    }
    return socket
  }

  /** Rejects after so many milliseconds with an error that says what did not happen, or when the agents are closed. */
  async #within<Value>(
    milliseconds: number,
    what: string,
    work: (signal: AbortSignal) => Promise<Value>,
  ): Promise<Value> {
    const late = new AbortController()
    const error = Object.assign(new Error(`${what} within ${milliseconds / 1000} s`), { code: 'ETIMEDOUT' })
    const heard = afterSilence(milliseconds, () => late.abort(error))
    const signal = AbortSignal.any([late.signal, this.#closed.signal])
    try {
      return await abortable(work(signal), signal)
    } finally {
      heard()
    }
  }
}

function hangUp(): Error {
  return Object.assign(new Error('it closed the connection before it was ready'), { code: 'ECONNRESET' })
}
