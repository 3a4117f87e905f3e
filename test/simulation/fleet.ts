import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { type ForkedNode, forkNode } from '../support/child-process.ts'

/** Seeds that a process plays at a time. */
export interface Share {
  readonly from: number
  readonly count: number
}

export interface Failure {
  readonly seed: number
  readonly problems: readonly string[]
}

export interface ShareResult extends Share {
  readonly events: number
  readonly failures: readonly Failure[]
}

export interface FleetOptions {
  readonly from: number
  readonly seeds: number
  /** Hears of each share that was played. */
  readonly onShare?: (result: ShareResult) => void
  /** Failures after which no more is played. */
  readonly enough: number
}

const shareSize = 100
/** Shares after which a process makes room for a new one: what a killed world waits for is never given back (200 KB a seed). */
const sharesEach = 20
/** Milliseconds after which a share that is not played is taken for one that never ends: a hundred times what it takes. */
const endlessMs = 300_000

/** Plays seeds on all cores, each in a process of its own. Returns those that fail; throws where a process dies. */
export async function playSeeds({ from, seeds, onShare, enough }: FleetOptions): Promise<Failure[]> {
  const failures: Failure[] = []
  let next = from
  const take = (): Share | undefined => {
    const count = Math.min(shareSize, from + seeds - next)
    if (count <= 0 || failures.length >= enough) return undefined
    next += count
    return { from: next - count, count }
  }
  const sail = async (): Promise<void> => {
    let share = take()
    while (share) {
      const child = forkNode(new URL('worker.ts', import.meta.url))
      try {
        for (let count = 0; share && count < sharesEach; count += 1) {
          const result = await played(child, share)
          failures.push(...result.failures)
          onShare?.(result)
          share = take()
        }
      } finally {
        child.kill()
      }
    }
  }
  await Promise.all(Array.from({ length: availableParallelism() }, sail))
  return failures.toSorted((one, other) => one.seed - other.seed)
}

async function played(child: ForkedNode, share: Share): Promise<ShareResult> {
  const listening = new AbortController()
  const signal = AbortSignal.any([listening.signal, AbortSignal.timeout(endlessMs)])
  const what = `seeds ${share.from} to ${share.from + share.count - 1}`
  const died = once(child, 'exit', { signal }).then(([code]) => {
    throw new Error(`a process ended with ${code} at one of the ${what}`)
  })
  const answered = once(child, 'message', { signal })
  child.send(share)
  try {
    const [result] = await Promise.race([answered, died])
    return result
  } catch (error) {
    throw signal.aborted ? new Error(`one of the ${what} never ends`) : error
  } finally {
    died.catch(() => {})
    answered.catch(() => {})
    listening.abort()
  }
}
