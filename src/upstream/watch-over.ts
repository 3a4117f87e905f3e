import { afterSilence } from '../flow/after-silence.ts'
import { Pulse } from '../flow/pulse.ts'
import type { LineUse } from './connections/line-use.ts'
import { UpstreamError } from './error.ts'

export interface WatchOptions {
  /** The upstream's name, for the error. */
  readonly upstream: string
  /** Milliseconds without a sign of life. */
  readonly patienceMs: number
  /** The same while blobs come in: clients give up after 30 s without headers. */
  readonly busyPatienceMs?: number | undefined
  readonly lineUse: LineUse
  /** Called once at most. */
  readonly onSilence?: ((error: UpstreamError) => void) | undefined
}

const defaultBusyPatienceMs = 20_000

/**
 * Does a part of a question. Where it shows no sign of life for too long, whoever waits for the question is told so
 * (UpstreamError TIMED_OUT); the part goes on, and its answer is kept for the next one who asks. While blobs come in
 * they may fill the line, and it takes longer until it is too long. Work that has no pulse is not watched: nobody waits
 * for it as for a question.
 */
export async function watchOver<Value>(part: () => Promise<Value>, options: WatchOptions): Promise<Value> {
  const pulse = Pulse.current
  if (!pulse) return part()
  const { upstream, patienceMs, busyPatienceMs = defaultBusyPatienceMs, lineUse } = options
  let { onSilence } = options
  let heard: () => void
  pulse.beat()
  const look = (): void => {
    const { lastBeat } = pulse
    const latest = lastBeat + Math.max(patienceMs, busyPatienceMs)
    const whileBlobsCome = Math.min(lineUse.lastBytes, latest - patienceMs) + patienceMs
    const end = Math.max(pulse.silentAt(patienceMs), whileBlobsCome)
    const now = performance.now()
    if (end <= now) {
      const seconds = Math.round((now - lastBeat) / 1000)
      const message = `no sign of life for ${seconds} s`
      // The promise is for those who wait for this question: whoever comes later may have another, which is not asked.
      onSilence?.(new UpstreamError('TIMED_OUT', upstream, message))
      onSilence = undefined
      const promise = `${message}; the question goes on, so ask again in a moment`
      pulse.fallSilent(new UpstreamError('TIMED_OUT', upstream, promise))
    }
    heard = afterSilence(end > now ? end - now : patienceMs, look)
  }
  heard = afterSilence(patienceMs, look)
  try {
    return await part()
  } finally {
    heard()
  }
}
