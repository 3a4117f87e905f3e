import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import http, { type RequestListener, type Server } from 'node:http'
import https from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Logger } from 'pino'
import { delay } from '../flow/abortable.ts'
import { IntervalJob } from '../flow/interval-job.ts'
import type { ListenAddress } from '../names/listen-address.ts'
import { checkPair, readChain, readKey } from '../pem/key-pair.ts'
import type { Admission } from './admission.ts'
import { Answers } from './answers.ts'
import { Connections } from './connections.ts'
import type { LetGoReason } from './metrics.ts'
import { Pipelining } from './pipelining.ts'
import { removeStaleSocket } from './stale-socket.ts'
import type { TrustedProxies } from './trusted-proxies.ts'
import { refuseUnreadable } from './unreadable-requests.ts'
import { WrongScheme } from './wrong-scheme.ts'

export interface ListenerOptions {
  readonly addresses: readonly ListenAddress[]
  /** PEM files, read again when they change. Ports speak TLS by them; a Unix socket never leaves the machine. */
  readonly tls: { readonly certificate: string; readonly key: string } | undefined
  /** Milliseconds that running transfers have to finish when it is closed. */
  readonly graceMs: number
  /** Connections that one client may have at a time. */
  readonly connectionsPerClient: number
  readonly admission: Admission
  /** Those who may have any number of them. */
  readonly proxies: TrustedProxies
  /** Milliseconds in which the headers of a request have to come: nobody honest is slower with a few hundred bytes. */
  readonly headersMs?: number | undefined
  /** Called when the grace is over, just before the connections that are still there are destroyed. */
  readonly onCut: () => void
  /** Hears of each connection that is closed before its client meant it to be. */
  readonly onLetGo: (reason: LetGoReason, socket: Socket) => void
  readonly logger: Logger
}

/** Who hears of a request: all of them at once, and whoever answers when it is its turn on the connection. */
export interface Handlers {
  readonly onArrival: RequestListener
  readonly answer: RequestListener
}

const defaultHeadersMs = 15_000
/** No client of a registry lets a request wait behind another one; those of a few hundred bytes are read 64 KiB at a time. */
const waiting = { perConnection: 32, inAll: 1024 } as const

const settings = {
  /** None for the rest: a slow line may take hours for a body, in either direction. */
  requestTimeout: 0,
  /** Longer than the 90 s for which Go's clients keep a connection, so that it is they who close it. */
  keepAliveTimeout: 95_000,
  /** The front door answers them. */
  requireHostHeader: false,
  /** Bytes. Clients of zstd:chunked images ask for up to 1,024 ranges at once, and give the pull up where it is 431. */
  maxHeaderSize: 32 * 1024,
}
const certificateCheckMs = 10_000

/** The sockets that the application listens on, plain or TLS. Dispose to close: running answers get a grace. */
export class Listener implements AsyncDisposable {
  readonly #options: ListenerOptions
  readonly #servers: Server[]
  readonly #certificateJob: IntervalJob | undefined
  readonly #answers: Answers

  private constructor(
    options: ListenerOptions,
    parts: { servers: Server[]; certificateJob: IntervalJob | undefined; answers: Answers },
  ) {
    this.#options = options
    this.#servers = parts.servers
    this.#certificateJob = parts.certificateJob
    this.#answers = parts.answers
  }

  /**
   * Listens on all addresses, or on none: rejects with the first error (EADDRINUSE, EACCES, a bad certificate).
   * Of what lies at the path of a Unix socket only a socket is removed that nobody listens at.
   */
  static async open({ onArrival, answer }: Handlers, options: ListenerOptions): Promise<Listener> {
    const tls = options.tls && (await readCertificate(options.tls))
    const { admission, logger, onLetGo, headersMs = defaultHeadersMs } = options
    const answers = new Answers()
    const pipelining = new Pipelining({ ...waiting, onExcess: (socket) => onLetGo('pipelining', socket) })
    const handler = admission.around(pipelining.around(onArrival, answers.around(answer)))
    const timeouts = {
      ...settings,
      headersTimeout: headersMs,
      connectionsCheckingInterval: Math.ceil(headersMs / 3),
    }
    const servers = options.addresses.map(({ path }) =>
      tls && path === undefined
        ? https.createServer({ ...timeouts, ...tls }, handler)
        : http.createServer(timeouts, handler),
    )
    const connections = new Connections({
      perClient: options.connectionsPerClient,
      proxies: options.proxies,
      admission,
      onRefused: (socket) => onLetGo('connections', socket),
      logger,
    })
    const wrongScheme = new WrongScheme(logger)
    for (const server of servers) {
      connections.watch(server)
      // Whoever reads the body tells the client to send it; where nobody does, Node ends the connection with the answer.
      server.on('checkContinue', handler)
      // An expectation that nobody knows is none that has to be met (RFC 9110 10.1.1).
      server.on('checkExpectation', handler)
      refuseUnreadable(
        server,
        (socket) => answers.current(socket),
        (error, socket) => {
          if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') onLetGo('headers', socket)
          wrongScheme.look(error, socket)
        },
      )
    }
    const job = options.tls && certificateReloader(options.tls, servers, logger)
    const listener = new Listener(options, { servers, certificateJob: job, answers })
    try {
      for (const [index, server] of servers.entries()) {
        const address = options.addresses[index]
        if (address?.path !== undefined) await removeStaleSocket(address.path)
        // Without a host Node listens on "::", which takes IPv4 too where the system has both.
        server.listen(address)
        await once(server, 'listening')
      }
    } catch (error) {
      await listener[Symbol.asyncDispose]()
      throw error
    }
    admission.share()
    job?.start()
    return listener
  }

  /** The ports that are listened on, in the order of the addresses; sockets have none. */
  get ports(): number[] {
    return this.#servers.flatMap((server) => {
      const address = server.address() as AddressInfo | string | null
      return typeof address === 'object' && address ? [address.port] : []
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#certificateJob?.[Symbol.asyncDispose]()
    this.#answers.closeConnections(() => {
      for (const server of this.#servers) server.closeIdleConnections()
    })
    this.#options.admission.closeUnasked()
    const closed = this.#servers.filter(({ listening }) => listening).map(closeServer)
    await Promise.race([Promise.all(closed), delay(this.#options.graceMs)])
    this.#options.onCut()
    for (const server of this.#servers) server.closeAllConnections()
    await Promise.all(closed)
  }
}

async function closeServer(server: Server): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  await closed
}

/** Throws PemError where the two are not a certificate and its key. */
async function readCertificate(files: {
  certificate: string
  key: string
}): Promise<{ cert: Buffer; key: Buffer }> {
  const [cert, key] = await Promise.all([readFile(files.certificate), readFile(files.key)])
  const chain = readChain({ name: files.certificate, bytes: cert })
  checkPair(chain, readKey({ name: files.key, bytes: key }))
  return { cert, key }
}

/** A renewed certificate is taken without a restart; one that is half written or wrong changes nothing. */
function certificateReloader(
  files: { certificate: string; key: string },
  servers: readonly Server[],
  logger: Logger,
): IntervalJob {
  let current: string | undefined
  const reload = async (): Promise<void> => {
    const tls = await readCertificate(files)
    const content = `${tls.cert}${tls.key}`
    if (current === content) return
    for (const server of servers) if (server instanceof https.Server) server.setSecureContext(tls)
    if (current !== undefined) logger.info({ file: files.certificate }, 'took the changed certificate')
    current = content
  }
  return new IntervalJob(reload, {
    intervalMs: certificateCheckMs,
    onError: (error) =>
      logger.error({ err: error }, 'the certificate could not be read again: keeping the old one'),
  })
}
