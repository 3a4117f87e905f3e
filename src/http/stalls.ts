import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { forwardingHeader } from './forwarding.ts'

/** What a client leaves undone. */
type Stall = 'taking' | 'sending'

export interface StallsOptions {
  /** Milliseconds without a byte after which a client is let go (`limits.perClient.stall`). */
  readonly stallMs: number
  /** Hears of it just before the connection is destroyed. */
  readonly onStall: (request: IncomingMessage, response: ServerResponse, stall: Stall, ms: number) => void
}

/**
 * How much longer a proxy may be silent: one that buffers takes a gigabyte at once, and nothing more until its own client
 * has that (docs/decisions/0027).
 */
const proxyFactor = 24

/**
 * Lets go of clients that take no byte of an answer, or send none of a body, for so long; who takes or sends a few is
 * not meant, and neither is who waits for us. Node looks whether the kernel took anything since it looked last, so
 * that it takes up to twice as long.
 */
export function letGoOfStalled(next: RequestListener, { stallMs, onStall }: StallsOptions): RequestListener {
  return (request, response) => {
    const ms = isOfProxy(request) ? stallMs * proxyFactor : stallMs
    response.setTimeout(ms, () => {
      const stall = stallOf(request)
      if (stall === undefined) return void response.setTimeout(ms)
      onStall(request, response, stall, ms)
      request.socket.destroy()
    })
    next(request, response)
  }
}

/** Whoever says so, and HTTP/1.0, which nginx speaks unless it is told otherwise. */
function isOfProxy(request: IncomingMessage): boolean {
  return request.httpVersion === '1.0' || forwardingHeader(request) !== undefined
}

/** Undefined where it is we who keep it waiting. */
function stallOf({ socket, complete, readableLength }: IncomingMessage): Stall | undefined {
  if (socket.writableLength > 0) return 'taking'
  return complete || readableLength > 0 ? undefined : 'sending'
}
