import { abortable, within } from '../flow/abortable.ts'
import { UpstreamError } from '../upstream/error.ts'
import type { UpstreamRepository } from './upstream-repository.ts'

/**
 * Waits for what an upstream is asked, for somebody who has something to go on with: no longer than `forMs` milliseconds,
 * and no longer than it takes to notice that the upstream says nothing. Undefined then, and the question goes on. Rejects
 * as it does, and with the reason of `signal` when that aborts.
 */
export async function unlessSilent<Answer>(
  { upstream }: { readonly upstream: Pick<UpstreamRepository['upstream'], 'whenSilent'> },
  asking: Promise<Answer>,
  { forMs, signal }: { readonly forMs?: number; readonly signal?: AbortSignal | undefined },
): Promise<Answer | undefined> {
  const silent = Promise.withResolvers<undefined>()
  const stopListening = upstream.whenSilent(() => silent.resolve(undefined))
  const first = Promise.race([asking, silent.promise])
  try {
    return await (forMs === undefined ? abortable(first, signal) : within(first, forMs, signal))
  } finally {
    stopListening()
  }
}

/**
 * Waits for what an upstream is asked, for somebody who has nothing to go on with: after it has fallen silent for its patience
 * (`limits.patience`) and no longer. Rejects as `asking` does, which goes on, and then with UpstreamError TIMED_OUT.
 */
export async function untilSilent<Answer>(
  {
    upstream,
  }: { readonly upstream: Pick<UpstreamRepository['upstream'], 'name' | 'patienceMs' | 'whenSilent'> },
  asking: Promise<Answer>,
): Promise<Answer> {
  const { name, patienceMs } = upstream
  const late = Promise.withResolvers<never>()
  let timer: NodeJS.Timeout | undefined
  const stopListening = upstream.whenSilent(() => {
    const message = `no sign of life for ${patienceMs / 1000} s: the question goes on, ask again in a moment`
    const end = (): void => late.reject(new UpstreamError('TIMED_OUT', name, message))
    timer ??= setTimeout(end, patienceMs).unref()
  })
  try {
    return await Promise.race([asking, late.promise])
  } finally {
    stopListening()
    clearTimeout(timer)
  }
}
