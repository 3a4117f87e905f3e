import type { OpenedSpan, Source, SpanQuery } from '../content/source.ts'
import type { Turn } from '../flow/slots.ts'
import type { UpstreamRepository } from '../mirror/upstream-repository.ts'
import type { Digest } from '../oci/digest.ts'
import type { RepositoryKey } from '../storage/repository-key.ts'
import { StorageAddress } from '../upstream/storage-address.ts'

/** The way to a blob by the upstream of a repository, which hears what it says of it. */
export class BlobSource implements Source {
  readonly name: string
  readonly repository: RepositoryKey
  readonly #source: UpstreamRepository
  readonly #digest: Digest
  readonly #onFailure: (error: unknown) => Promise<void>
  /** Of this way alone: who comes by another one has not been told where the bytes are. */
  readonly #address = new StorageAddress()
  readonly #onAnswer: (() => void) | undefined
  #hasAnswered = false
  /** Where its bytes last came from. */
  #origin: string | undefined

  constructor(
    source: UpstreamRepository,
    digest: Digest,
    /** Hears each failure before whoever asked does. */
    onFailure: (error: unknown) => Promise<void>,
    /** It has begun to send, for the first time. */
    onAnswer?: () => void,
  ) {
    this.name = source.upstream.name
    this.repository = source.key
    this.#source = source
    this.#digest = digest
    this.#onFailure = onFailure
    this.#onAnswer = onAnswer
  }

  /** Whether the upstream has begun to send it by this way: it says that it has it. */
  get hasAnswered(): boolean {
    return this.#hasAnswered
  }

  get roundTripMs(): number | undefined {
    return this.#source.upstream.roundTripMs(this.#origin)
  }

  turn(turn: Turn, signal: AbortSignal): Promise<Disposable> {
    return this.#source.upstream.blobTurn(turn, signal)
  }

  distrust(): void {
    this.#address.forget()
  }

  async size({ signal }: { readonly signal: AbortSignal }): Promise<number | undefined> {
    const { upstream, name } = this.#source
    return upstream.turns.take('question', { signal }, (asking) =>
      upstream.blobSize(name, this.#digest, asking),
    )
  }

  async open(position: number, query: SpanQuery): Promise<OpenedSpan> {
    const { upstream, name } = this.#source
    try {
      const span = await upstream.blob(name, this.#digest, { position, ...query, address: this.#address })
      if (!this.#hasAnswered) this.#onAnswer?.()
      this.#hasAnswered = true
      this.#origin = span.origin
      return span
    } catch (error) {
      await this.#onFailure(error)
      throw error
    }
  }
}
