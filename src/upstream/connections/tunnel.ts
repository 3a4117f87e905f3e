import http from 'node:http'
import type { Socket } from 'node:net'
import type { ForwardProxy } from './proxy-settings.ts'

/** A forward proxy would not do what it was asked for, or could not be reached. */
export class ProxyError extends Error {
  readonly code: string

  constructor(proxy: ForwardProxy, message: string, options: { code: string; cause?: unknown }) {
    super(`the proxy ${proxy.label} ${message}`, options.cause === undefined ? undefined : options)
    this.name = 'ProxyError'
    this.code = options.code
  }
}

export interface TunnelOptions {
  readonly proxy: ForwardProxy
  /** The connection to the proxy. The tunnel is this very socket. */
  readonly socket: Socket
  /** `host:port` of the other end. */
  readonly target: string
  readonly userAgent: string
  readonly signal: AbortSignal
}

/**
 * Asks a proxy for a tunnel (CONNECT, RFC 9110 9.3.6). Resolves when the socket leads to the other end. Throws
 * ProxyError where the proxy refuses; the socket is closed then.
 */
export async function openTunnel(options: TunnelOptions): Promise<void> {
  const { proxy, socket, target, userAgent, signal } = options
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const request = http.request({
    method: 'CONNECT',
    path: target,
    headers: {
      host: target,
      'user-agent': userAgent,
      ...(proxy.authorization === undefined ? {} : { 'proxy-authorization': proxy.authorization }),
    },
    createConnection: () => socket,
    signal,
  })
  request.once('connect', ({ statusCode = 0, statusMessage = '' }, _socket, early) => {
    if (statusCode >= 200 && statusCode < 300) {
      if (early.length > 0) socket.unshift(early)
      return resolve()
    }
    socket.destroy()
    reject(new ProxyError(proxy, refusalInWords(target, statusCode, statusMessage), { code: 'EPROXY' }))
  })
  request.on('error', (cause: NodeJS.ErrnoException) => {
    const message = `broke off when asked for a connection to ${target}: ${cause.message}`
    reject(signal.aborted ? signal.reason : new ProxyError(proxy, message, { code: 'EPROXY', cause }))
  })
  request.end()
  await promise
}

function refusalInWords(target: string, status: number, reason: string): string {
  const said = `(it answered ${status}${reason === '' ? '' : ` ${reason}`})`
  if (status === 407) return `wants a user name and a password, or other ones ${said}: ${loginHint}`
  if (status >= 500) return `could not connect to ${target} ${said}`
  return `refuses to connect to ${target} ${said}`
}

/** What to do where a proxy wants a login; no whole URL, whose placeholder would be taken for a secret. */
export const loginHint = 'write them into its URL, as user:password@ before the host'
