import { UpstreamError } from '../upstream/error.ts'

/** What a HEAD found; undefined where its answer decides nothing. Throws UpstreamError on an outage. */
export async function unlessOdd<Answer>(answer: Promise<Answer>): Promise<Answer | undefined> {
  try {
    return await answer
  } catch (error) {
    if (!isOdd(error, false)) throw error
    return undefined
  }
}

/** Whether the failure of a HEAD says nothing of what it asked for; a refusal does where HEAD is known to be right. */
export function isOdd(error: unknown, isKnown: boolean): boolean {
  return error instanceof UpstreamError && (error.isOdd || (error.isRefusal && !isKnown))
}
