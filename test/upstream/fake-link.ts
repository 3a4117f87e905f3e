import type { TransportResponse } from '../../src/upstream/connections/exchange.ts'
import type { Answer, Link, Question } from '../../src/upstream/question.ts'
import { lending } from '../support/lent.ts'

/** The end of a chain: answers as it is told to, and remembers what it was asked. */
export class FakeLink implements Link {
  readonly questions: Question[] = []
  readonly #answer: (question: Question) => Answer | Promise<Answer>

  constructor(answer: (question: Question) => Answer | Promise<Answer>) {
    this.#answer = answer
  }

  async request(question: Question): Promise<Answer> {
    this.questions.push(question)
    return this.#answer(question)
  }
}

type Parts = Partial<TransportResponse> & { readonly bytes?: Buffer }

/** An answer of the registry at `https://registry.test`. */
export function answerOf(status: number, { bytes = Buffer.alloc(0), ...parts }: Parts = {}): Answer {
  return {
    status,
    headers: {},
    url: new URL('https://registry.test/v2/'),
    as: 'anyone',
    async *body() {
      if (bytes.length > 0) yield bytes
    },
    async *lent() {
      if (bytes.length > 0) yield* lending(bytes)
    },
    stop: () => {},
    discard: () => {},
    ...parts,
  }
}
