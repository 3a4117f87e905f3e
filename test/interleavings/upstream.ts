import type { OpenedSpan, Source, SpanQuery } from '../../src/content/source.ts'
import type { LentBytes } from '../../src/flow/lent-bytes.ts'
import type { Slots } from '../../src/flow/slots.ts'
import type { RepositoryKey } from '../../src/storage/repository-key.ts'
import { UpstreamError } from '../../src/upstream/error.ts'
import { lending } from '../support/lent.ts'
import type { Stage } from './turns.ts'
import type { Layer } from './world.ts'

/** What an upstream may do when it is asked. */
export const answerKinds = {
  /** It gives what is asked for. */
  good: {},
  /** It breaks off. */
  cut: { breaks: 'off' },
  /** Nothing comes any more, until a watchdog ends it. */
  stuck: { breaks: 'silently' },
  /** Not even an answer comes. */
  silent: { refuses: 'TIMED_OUT' },
  /** It has no such blob. */
  absent: { refuses: 'NOT_FOUND' },
  down: { refuses: 'UNREACHABLE' },
  /** It tells no size. */
  untold: { told: undefined },
  /** It gives all of it, wherever it was asked to begin. */
  whole: { ignoresPosition: true },
  wrong: { lies: true, changes: true },
  shorter: { lies: true, told: -7 },
  longer: { lies: true, told: 7 },
} as const satisfies Record<string, AnswerKind>

interface AnswerKind {
  readonly breaks?: 'off' | 'silently'
  readonly refuses?: 'TIMED_OUT' | 'NOT_FOUND' | 'UNREACHABLE'
  /** By how many bytes the size that it tells differs; undefined: it tells none. */
  readonly told?: number | undefined
  readonly ignoresPosition?: true
  readonly changes?: true
  readonly lies?: true
}

export interface Answer {
  readonly kind: keyof typeof answerKinds
  /** After so many pieces it breaks. */
  readonly pieces: number
}

/** Milliseconds after which what is silent is taken for dead. */
const watchdogMs = 30_000

/** An upstream that answers as it is told, one answer a question, and the last one to all questions behind. */
export class Upstream implements Source {
  readonly name: string
  readonly repository: RepositoryKey
  /** Bytes that it has sent. */
  sent = 0
  /** Connections that nobody has ended. */
  connections = 0
  /** The answers that it has given. */
  readonly given: Answer[] = []
  readonly #stage: Stage
  readonly #layer: Layer
  readonly #pieceSize: number
  readonly #answers: readonly Answer[]
  readonly #line: Slots | undefined

  constructor(
    stage: Stage,
    options: {
      readonly repository: RepositoryKey
      readonly layer: Layer
      readonly pieceSize: number
      readonly answers: readonly Answer[]
      /** Where its blobs have to share it. */
      readonly line?: Slots | undefined
    },
  ) {
    this.#stage = stage
    this.repository = options.repository
    this.name = options.repository
    this.#layer = options.layer
    this.#pieceSize = options.pieceSize
    this.#answers = options.answers
    this.#line = options.line
  }

  /** Whether it gives the right bytes sooner or later, and never says what is not so. */
  get isHonest(): boolean {
    return this.#answers.every(({ kind }) => !isLie(kind))
  }

  /** Whether each of its answers is good. */
  get isGood(): boolean {
    return this.#answers.every(({ kind }) => kind === 'good')
  }

  async open(position: number, query: SpanQuery): Promise<OpenedSpan> {
    const place = await this.#line?.take(query.turn, query.signal)
    try {
      return await this.#open(position, query, place)
    } catch (error) {
      place?.[Symbol.dispose]()
      throw error
    }
  }

  async #open(
    position: number,
    { end, signal }: SpanQuery,
    place: Disposable | undefined,
  ): Promise<OpenedSpan> {
    const answer = this.#answers[Math.min(this.given.length, this.#answers.length - 1)] as Answer
    this.given.push(answer)
    const kind: AnswerKind = answerKinds[answer.kind]
    await this.#stage.step(`${this.name} answers`)
    signal.throwIfAborted()
    if (kind.refuses === 'TIMED_OUT') await this.#silence(signal)
    if (kind.refuses) throw new UpstreamError(kind.refuses, this.name, `it is ${answer.kind}`)
    const { bytes } = this.#layer
    const start = kind.ignoresPosition ? 0 : position
    const size = 'told' in kind ? kind.told && bytes.length + kind.told : bytes.length
    const stopped = new AbortController()
    this.connections += 1
    let isOver = false
    const close = () => {
      if (!isOver) this.connections -= 1
      isOver = true
      place?.[Symbol.dispose]()
    }
    return {
      start,
      size,
      body: () =>
        this.#body(answer, { start, end: end ?? bytes.length, signal, stopped: stopped.signal, close }),
      stop: () => {
        stopped.abort()
        place?.[Symbol.dispose]()
      },
      discard: close,
    }
  }

  async *#body(
    { kind, pieces }: Answer,
    span: { start: number; end: number; signal: AbortSignal; stopped: AbortSignal; close: () => void },
  ): AsyncGenerator<LentBytes> {
    const { breaks, changes }: AnswerKind = answerKinds[kind]
    const { start, end, signal, stopped, close } = span
    try {
      let count = 0
      for (let at = start; at < end; at += this.#pieceSize) {
        await this.#stage.step(`${this.name} sends`)
        signal.throwIfAborted()
        if (stopped.aborted) return
        if (breaks && count === pieces) {
          if (breaks === 'silently') await this.#silence(AbortSignal.any([signal, stopped]), stopped)
          if (stopped.aborted) return
          throw new UpstreamError('UNREACHABLE', this.name, `it is ${kind}`)
        }
        const piece = Buffer.from(this.#layer.bytes.subarray(at, Math.min(at + this.#pieceSize, end)))
        if (changes) piece[0] = (piece[0] ?? 0) ^ 1
        this.sent += piece.length
        count += 1
        yield* lending(piece)
      }
    } finally {
      close()
    }
  }

  /** Waits as long as a watchdog does. Rejects when `signal` aborts, but not because of `stopped`. */
  async #silence(signal: AbortSignal, stopped?: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, watchdogMs)
      signal.addEventListener('abort', () => {
        clearTimeout(timer)
        resolve()
      })
    })
    if (!stopped?.aborted) signal.throwIfAborted()
  }
}

export function isLie(kind: Answer['kind']): boolean {
  return 'lies' in answerKinds[kind]
}
