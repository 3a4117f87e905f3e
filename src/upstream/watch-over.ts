import { Pulse } from '../flow/pulse.ts'
import { UpstreamError } from './error.ts'

export interface WatchOptions {
  /** The upstream's name, for the error. */
  readonly name: string
  /** Milliseconds without a sign of life. */
  readonly patienceMs: number
  /** Called once at most. */
  readonly onSilence?: ((error: UpstreamError) => void) | undefined
}

/**
 * Does a part of a question. Where it shows no sign of life for too long, whoever waits for the question is told so
 * (UpstreamError TIMED_OUT); the part goes on, and its answer is kept for the next one who asks. Work that has no pulse
 * is not watched: nobody waits for it as for a question.
 */
export async function watchOver<Value>(part: () => Promise<Value>, options: WatchOptions): Promise<Value> {
  const pulse = Pulse.current
  if (!pulse) return part()
  const { name, patienceMs } = options
  const message = `no sign of life for ${patienceMs / 1000} s; the question goes on, so ask again in a moment`
  let { onSilence } = options
  let timer: NodeJS.Timeout
  pulse.beat()
  const look = (): void => {
    const leftMs = pulse.lastBeat + patienceMs - performance.now()
    if (leftMs <= 0) {
      const error = new UpstreamError('TIMED_OUT', name, message)
      onSilence?.(error)
      onSilence = undefined
      pulse.fallSilent(error)
    }
    timer = setTimeout(look, leftMs > 0 ? leftMs : patienceMs)
  }
  timer = setTimeout(look, patienceMs)
  try {
    return await part()
  } finally {
    clearTimeout(timer)
  }
}
