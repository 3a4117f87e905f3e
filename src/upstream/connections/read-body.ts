import { Pulse } from '../../flow/pulse.ts'
import { UpstreamError } from '../error.ts'
import type { TransportResponse } from './exchange.ts'

/** Milliseconds for an answer that is read whole: 4 MiB at 64 kbit/s. One that trickles must end somewhere. */
const maximumReadMs = 600_000

/** Bytes after which a body that is read whole counts as large. */
const largeBytes = 128 * 1024

export interface ReadOptions {
  /** Waits until an answer that turns out to be large may come to its end. */
  readonly onLarge?: (() => Promise<void>) | undefined
  /** Milliseconds that the whole body may take. */
  readonly readMs?: number | undefined
}

/**
 * Reads a small body whole; one that turns out to be large waits for `onLarge` in the middle. Throws UpstreamError INVALID_RESPONSE where it passes `limit` bytes, TIMED_OUT where it
 * takes for ever; no more than that is read.
 */
export async function readBody(
  response: TransportResponse,
  upstream: string,
  limit: number,
  { onLarge, readMs = maximumReadMs }: ReadOptions = {},
): Promise<Buffer> {
  const startedAt = performance.now()
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response.body()) {
    Pulse.current?.beat(chunk.length)
    size += chunk.length
    if (size > limit) {
      throw new UpstreamError('INVALID_RESPONSE', upstream, `an answer of more than ${limit} bytes`)
    }
    if (performance.now() - startedAt > readMs) {
      throw new UpstreamError('TIMED_OUT', upstream, `an answer that takes longer than ${readMs / 1000} s`)
    }
    chunks.push(chunk)
    if (size > largeBytes && size - chunk.length <= largeBytes) await onLarge?.()
  }
  return Buffer.concat(chunks)
}
