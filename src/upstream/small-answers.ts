import { delay } from '../flow/abortable.ts'
import { backoffMs } from '../flow/backoff.ts'
import { RegistryError } from '../oci/error.ts'
import { maximumManifestBytes } from '../oci/manifest.ts'
import type { LineUse } from './connections/line-use.ts'
import { readBody } from './connections/read-body.ts'
import { UpstreamError } from './error.ts'
import type { Answer, Asking } from './question.ts'
import { type WatchOptions, watchOver } from './watch-over.ts'
import { unreadable } from './web-page.ts'

export interface SmallAnswersOptions extends Pick<WatchOptions, 'busyPatienceMs'> {
  /** The upstream's name, for errors. */
  readonly upstream: string
  readonly patienceMs: number
  readonly lineUse: LineUse
  /** Milliseconds that one may take whose bytes come. */
  readonly readMs?: number | undefined
  /** Whether the upstream answered when it was last needed; else nothing is tried again. */
  readonly isReachable: () => boolean
}

/** An answer with its body. */
export interface SmallAnswer<OneAnswer extends Answer = Answer> {
  readonly answer: OneAnswer
  readonly bytes: Buffer
}

/** Milliseconds before each further try of a small request that failed on the other side, and how many there are. */
const retryBounds = { firstMs: 400, capMs: 2000 }
const defaultRetries = 2

/** Answers that are read whole: manifests and lists. */
export class SmallAnswers {
  readonly #options: SmallAnswersOptions

  constructor(options: SmallAnswersOptions) {
    this.#options = options
  }

  /**
   * The answer that `ask` gets, with its body, of 4 MiB at most; asked again where the other side or the line failed,
   * so many times, after a moment that is drawn; not where the other side wants more time than that. Throws as `ask` does.
   */
  async get<OneAnswer extends Answer>(
    ask: () => Promise<OneAnswer>,
    { signal, onLarge }: Asking = {},
    retries: number = defaultRetries,
  ): Promise<SmallAnswer<OneAnswer>> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        const answer = await ask()
        const { upstream, readMs } = this.#options
        const reading = () => readBody(answer, upstream, maximumManifestBytes, { onLarge, readMs })
        return { answer, bytes: await watchOver(reading, this.#options) }
      } catch (error) {
        const isPassing = error instanceof UpstreamError && error.isWorthRepeating
        if (!isPassing || attempt === retries || !this.#options.isReachable()) throw error
        const askedMs = (error.retryAfterSeconds ?? 0) * 1000
        if (askedMs > retryBounds.capMs) throw error
        await delay(Math.max(askedMs, backoffMs(attempt + 1, retryBounds)), signal)
      }
    }
  }

  /** What is read of an answer. Throws UpstreamError INVALID_RESPONSE where its reader refuses it. */
  async parsed<Value>({ headers }: Answer, reading: Promise<Value>): Promise<Value> {
    try {
      return await reading
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error
      throw unreadable(this.#options.upstream, headers['content-type'], error.message, error)
    }
  }
}
