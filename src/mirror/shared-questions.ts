import { SingleFlight } from '../flow/single-flight.ts'
import { UpstreamError } from '../upstream/error.ts'
import type { Asking } from '../upstream/question.ts'
import type { QuestionKind } from '../upstream/question-turns.ts'
import type { UpstreamRepository } from './upstream-repository.ts'

type SharedAsking = Asking & { readonly kind?: QuestionKind }

/** Questions that are asked once for all who wait for the same, when it is their turn at the upstream. */
export class SharedQuestions<Answer> {
  readonly #asking = new SingleFlight<string, Answer>()
  /** Those who wait for each, of whom some may be nobody in particular. */
  readonly #waiting = new Map<string, { readonly clients: string[]; count: number }>()

  /** Whether somebody waits for the answer already. */
  has(key: string): boolean {
    return this.#asking.has(key)
  }

  /**
   * What `question` comes to, which gets a signal that aborts when nobody waits for it any more. Rejects as it does, and
   * as `QuestionTurns` and `SingleFlight` say.
   */
  async ask(
    key: string,
    repository: { readonly upstream: Pick<UpstreamRepository['upstream'], 'turns'> },
    question: (asking: Asking) => Promise<Answer>,
    asking: SharedAsking,
  ): Promise<Answer> {
    const isJoining = this.has(key)
    try {
      return await this.#ask(key, repository, question, asking)
    } catch (error) {
      // What was asked for nobody, and is not, is asked all the same for somebody who has joined it.
      const isReserved = error instanceof UpstreamError && error.code === 'RESERVED'
      if (!isReserved || !isJoining || asking.background) throw error
      return this.ask(key, repository, question, asking)
    }
  }

  async #ask(
    key: string,
    { upstream }: { readonly upstream: Pick<UpstreamRepository['upstream'], 'turns'> },
    question: (asking: Asking) => Promise<Answer>,
    { signal, client = '', background, kind = 'question' }: SharedAsking,
  ): Promise<Answer> {
    const waiting = this.#waiting.get(key) ?? { clients: [], count: 0 }
    this.#waiting.set(key, waiting)
    const { clients } = waiting
    waiting.count += 1
    if (!background) clients.push(client)
    const inTurn = (flight: AbortSignal) =>
      upstream.turns.take(kind, { signal: flight, clients, background }, question)
    try {
      return await this.#asking.run(key, inTurn, signal)
    } finally {
      if (!background) clients.splice(clients.indexOf(client), 1)
      waiting.count -= 1
      if (waiting.count === 0 && this.#waiting.get(key) === waiting) this.#waiting.delete(key)
    }
  }
}
