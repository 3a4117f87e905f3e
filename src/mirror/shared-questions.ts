import { SingleFlight } from '../flow/single-flight.ts'
import type { Asking } from '../upstream/question.ts'
import type { QuestionKind } from '../upstream/question-turns.ts'
import type { UpstreamRepository } from './upstream-repository.ts'

/** Questions that are asked once for all who wait for the same, when it is their turn at the upstream. */
export class SharedQuestions<Answer> {
  readonly #asking = new SingleFlight<string, Answer>()
  /** Those who wait for each. */
  readonly #clients = new Map<string, string[]>()

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
    { upstream }: { readonly upstream: Pick<UpstreamRepository['upstream'], 'turns'> },
    question: (asking: Asking) => Promise<Answer>,
    { signal, client = '', kind = 'question' }: Asking & { readonly kind?: QuestionKind },
  ): Promise<Answer> {
    const clients = this.#clients.get(key) ?? []
    this.#clients.set(key, clients)
    clients.push(client)
    const inTurn = (flight: AbortSignal) => upstream.turns.take(kind, { signal: flight, clients }, question)
    try {
      return await this.#asking.run(key, inTurn, signal)
    } finally {
      clients.splice(clients.indexOf(client), 1)
      if (clients.length === 0 && this.#clients.get(key) === clients) this.#clients.delete(key)
    }
  }
}
