import type { LookupAddress } from 'node:dns'
import type { Socket } from 'node:net'
import { afterSilence } from '../../flow/after-silence.ts'

export interface RaceOptions {
  readonly port: number
  /** Begins a connection to one address. */
  readonly open: (address: string) => Socket
  /** Milliseconds for all of them together. */
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

/** One address that gave no connection, and why. */
interface FailedAttempt {
  /** `192.0.2.1:443` or `[2001:db8::1]:443`. */
  readonly at: string
  /** Of the system's error, such as ECONNREFUSED; ETIMEDOUT where there was no answer in time. */
  readonly code: string
}

/** No address of a host gave a connection. */
class NoConnectionError extends Error {
  readonly code: string
  readonly attempts: readonly FailedAttempt[]

  constructor(attempts: readonly FailedAttempt[]) {
    super(attempts.map(({ at, code }) => `${at} ${inWords(code)} (${code})`).join(', '))
    this.name = 'NoConnectionError'
    this.code = codeOf(attempts)
    this.attempts = attempts
  }
}

/** That descriptors are short here says nothing about anybody's address. */
function codeOf(attempts: readonly FailedAttempt[]): string {
  const short = attempts.find(isShortOfDescriptors)
  if (short) return short.code
  return attempts.every(({ code }) => code === 'ETIMEDOUT') ? 'ETIMEDOUT' : 'ECONNREFUSED'
}

/** Whether this process, or the whole system, has as many files and connections open as it may have. */
export function isShortOfDescriptors({ code }: { readonly code?: string | undefined }): boolean {
  return code === 'EMFILE' || code === 'ENFILE'
}

/** Milliseconds after which the next address is begun beside those under way (RFC 8305, section 5). */
const attemptDelayMs = 250
/** Addresses of one name that are tried; a name may have any number. */
const maximumAddresses = 16

/**
 * Connects to the first address that answers (RFC 8305, "Happy Eyeballs"): the next one begins as soon as one has
 * failed, or after a moment beside those before it. What has begun goes on until another one has won: a handshake may
 * take longer than the moment. Rejects with NoConnectionError, or the reason of `signal`.
 */
export async function raceAddresses(
  addresses: readonly LookupAddress[],
  options: RaceOptions,
): Promise<Socket> {
  const { port, open, timeoutMs, signal } = options
  const { promise, resolve, reject } = Promise.withResolvers<Socket>()
  const waiting = alternate(addresses).slice(0, maximumAddresses)
  const running = new Map<Socket, string>()
  const failures: FailedAttempt[] = []
  let next: NodeJS.Timeout | undefined

  /** Ends all but the winner. */
  const settle = (): void => {
    clearTimeout(next)
    heard()
    signal.removeEventListener('abort', onAbort)
    for (const socket of running.keys()) socket.destroy()
    running.clear()
  }
  const onAbort = (): void => reject(signal.reason)
  const heard = afterSilence(timeoutMs, () => {
    const silent = [...running.values()].map((at) => ({ at, code: 'ETIMEDOUT' }))
    reject(new NoConnectionError([...failures, ...silent]))
  })
  const begin = (): void => {
    clearTimeout(next)
    const address = waiting.shift()
    if (!address) return
    const at = `${address.family === 6 ? `[${address.address}]` : address.address}:${port}`
    let socket: Socket
    try {
      socket = open(address.address)
    } catch (error) {
      reject(error)
      return
    }
    running.set(socket, at)
    socket.once('connect', () => {
      if (!running.delete(socket)) return
      settle()
      resolve(socket)
    })
    // It stays: an error between here and whoever takes over must not end the process.
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (!running.delete(socket)) return
      failures.push({ at, code: error.code ?? error.message })
      if (waiting.length > 0) begin()
      else if (running.size === 0) reject(new NoConnectionError(failures))
    })
    if (waiting.length > 0) next = setTimeout(begin, attemptDelayMs)
  }
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    signal.throwIfAborted()
    begin()
    return await promise
  } finally {
    settle()
  }
}

/** The families in turn, beginning with the one that the resolver puts first (RFC 8305, section 4). */
function alternate(addresses: readonly LookupAddress[]): LookupAddress[] {
  const first = addresses.filter(({ family }) => family === addresses[0]?.family)
  const other = addresses.filter(({ family }) => family !== addresses[0]?.family)
  const longest = Math.max(first.length, other.length)
  return Array.from({ length: longest }, (_, index) => [first[index], other[index]])
    .flat()
    .filter((address) => address !== undefined)
}

/** What happened, for people; codes are those of the system. */
function inWords(code: string): string {
  switch (code) {
    case 'ECONNREFUSED':
      return 'refused it'
    case 'ENETUNREACH':
    case 'EHOSTUNREACH':
    case 'EADDRNOTAVAIL':
      return 'has no route'
    case 'ETIMEDOUT':
      return 'did not answer'
    case 'ECONNRESET':
      return 'broke it off'
    case 'EACCES':
    case 'EPERM':
      return 'is not allowed by a firewall here'
    default:
      return 'failed'
  }
}
