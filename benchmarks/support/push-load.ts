import { once } from 'node:events'
import { forkNode } from '../../test/support/child-process.ts'

/** Blobs to be pushed, so many at a time. */
export interface PushRequest {
  /** Of the repository. */
  readonly url: string
  readonly blobs: number
  /** Of each blob. */
  readonly bytes: number
  readonly connections: number
}

export interface PushResult {
  readonly seconds: number
  /** For each blob, from the POST to the 201. */
  readonly milliseconds: readonly number[]
}

/** Pushes in a process of its own, whose memory and time are nobody else's. Rejects where an answer is not what it should be. */
export async function push(request: PushRequest, signal: AbortSignal): Promise<PushResult> {
  const child = forkNode(new URL('./push-child.ts', import.meta.url), [], { signal })
  child.send(request)
  const ended = once(child, 'exit', { signal }).then(([code]) => {
    throw new Error(`the client that pushes ended with ${code}`)
  })
  ended.catch(() => {})
  const [result] = await Promise.race([once(child, 'message', { signal }), ended])
  child.disconnect()
  return result as PushResult
}
