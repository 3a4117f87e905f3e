import { createHash } from 'node:crypto'
import http, { type IncomingHttpHeaders, type IncomingMessage } from 'node:http'

export type PullOptions = {
  readonly headers?: Readonly<Record<string, string>>
  readonly method?: string
  /** Reads no faster than this. */
  readonly bytesPerSecond?: number
  /** Leaves, by a reset of the connection, once it has this many bytes. */
  readonly leaveAfter?: number
  /** Called with the bytes so far at each piece that arrives. */
  readonly onBytes?: (received: number) => void
}

/** What a client saw of one answer. */
export type Pulled = {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** Bytes of the body that arrived. */
  readonly received: number
  /** `sha256:` and the hex of what arrived. */
  readonly digest: string
  /** Whether the body ended as its framing says; false for one that was cut. */
  readonly isComplete: boolean
  /** Milliseconds from the request to the first byte of the body; undefined where none came. */
  readonly firstByteMs: number | undefined
  /** Milliseconds from the request to the end. */
  readonly totalMs: number
  /** The body of an answer of at most 1 MiB. Made when somebody reads it: of random bytes that takes long. */
  readonly text: string
}

/** Milliseconds after which a test that waits for ever fails instead. */
const longestMs = 120_000

/**
 * Asks for a URL on a connection of its own and takes the body as it comes, hashing it. Never rejects for a body
 * that is cut; rejects where no answer comes at all, or it takes two minutes.
 */
export async function pull(url: string, options: PullOptions = {}): Promise<Pulled> {
  const startedAt = performance.now()
  const overdue = AbortSignal.timeout(longestMs)
  const response = await request(url, options, overdue)
  const hash = createHash('sha256')
  const kept: Buffer[] = []
  let received = 0
  let firstByteMs: number | undefined
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      firstByteMs ??= performance.now() - startedAt
      received += chunk.length
      hash.update(chunk)
      if (received <= 1024 * 1024) kept.push(chunk)
      options.onBytes?.(received)
      if (options.leaveAfter !== undefined && received >= options.leaveAfter) {
        response.socket.resetAndDestroy()
        break
      }
      if (options.bytesPerSecond) await paceUntil(startedAt + (received / options.bytesPerSecond) * 1000)
    }
  } catch (error) {
    overdue.throwIfAborted()
    if (response.complete || options.leaveAfter !== undefined) throw error
  }
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    received,
    digest: `sha256:${hash.digest('hex')}`,
    isComplete: response.complete,
    firstByteMs,
    totalMs: performance.now() - startedAt,
    get text() {
      return Buffer.concat(kept).toString()
    },
  }
}

function request(
  url: string,
  { method = 'GET', headers = {} }: PullOptions,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    http.request(url, { method, headers, signal, agent: false }, resolve).on('error', reject).end()
  })
}

async function paceUntil(due: number): Promise<void> {
  const waitMs = due - performance.now()
  if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs))
}
