import { abortable, within } from '../flow/abortable.ts'
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
