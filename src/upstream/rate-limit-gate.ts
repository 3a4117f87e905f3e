import { Holdoff, type HoldoffOptions } from '../flow/holdoff.ts'
import { countsAsPull, isOfManifest, type Question } from './question.ts'

/**
 * Milliseconds for which an upstream is not asked that does not say how long, and once more after what it said was too
 * short. A quota that is used up comes back little by little, so that it is worth a look now and then.
 */
const again = { firstMs: 2000, capMs: 60_000 }
const ofAll: HoldoffOptions = { unasked: { firstMs: 120_000, capMs: 3_600_000 }, again }
const ofPulls: HoldoffOptions = { unasked: { firstMs: 120_000, capMs: 900_000 }, again }

/**
 * Milliseconds for which questions wait for the one that finds out whether a limit is over: less than the silence for
 * which the upstream is looked after (`limits.patience`).
 */
export function trialPatienceMs(patienceMs: number): number {
  return patienceMs * 0.4
}

/** A limit of all requests: of an upstream, of another registry that it leads to, of a token service. */
export function limitOfAll(): Holdoff {
  return new Holdoff(ofAll)
}

/**
 * Remembers that an upstream said 429, so that nobody asks again before it makes sense. Docker Hub's pull limit counts
 * GETs of manifests only, and may be told of to a HEAD; its abuse limit counts every request.
 */
export class RateLimitGate {
  readonly all = limitOfAll()
  readonly manifests = new Holdoff(ofPulls)
  readonly pulls = new Holdoff(ofPulls)

  /** What a question has to pass. */
  for(question: Pick<Question, 'method' | 'path'>): Holdoff[] {
    if (!isOfManifest(question)) return [this.all]
    return countsAsPull(question) ? [this.all, this.manifests, this.pulls] : [this.all, this.manifests]
  }
}
