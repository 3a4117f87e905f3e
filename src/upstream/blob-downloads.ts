import type { Digest } from '../oci/digest.ts'
import type { RepositoryName } from '../oci/repository-name.ts'
import type { LineUse } from './connections/line-use.ts'
import { type BlobQuery, type FetchedBlob, fetchedBlob } from './fetched-blob.ts'
import type { Answer, Link } from './question.ts'

export interface BlobDownloadsOptions {
  /** The upstream's name, for errors. */
  readonly name: string
  readonly lineUse: LineUse
}

/** Milliseconds for which a line that has dropped is waited for: headers leave before the bytes are here. */
const patienceMs = 60_000

/** The bytes of blobs on their way from one upstream. */
export class BlobDownloads {
  readonly #asAnyone: Link
  readonly #options: BlobDownloadsOptions
  #bytes = 0

  constructor(asAnyone: Link, options: BlobDownloadsOptions) {
    this.#asAnyone = asAnyone
    this.#options = options
  }

  /** Bytes that came so far. */
  get bytes(): number {
    return this.#bytes
  }

  /** GET of a blob from a position on, tried once. Throws UpstreamError. */
  async open(repository: RepositoryName, digest: Digest, query: BlobQuery): Promise<FetchedBlob> {
    const { position, signal, pace, since = performance.now() } = query
    const headers: Record<string, string> = position > 0 ? { range: `bytes=${position}-` } : {}
    const answer = await this.#asAnyone.request({
      method: 'GET',
      repository,
      path: `blobs/${digest}`,
      headers,
      signal,
      pace,
      patience: { since, forMs: patienceMs },
    })
    return fetchedBlob(this.#options.name, answer, () => this.#counted(answer))
  }

  async *#counted(answer: Answer): AsyncGenerator<Buffer, void, undefined> {
    const { name, lineUse } = this.#options
    for await (const chunk of answer.body()) {
      this.#bytes += chunk.length
      lineUse.note(name)
      yield chunk
    }
  }
}
