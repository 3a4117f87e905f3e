import type { Logger } from 'pino'
import { bestEffort } from '../flow/best-effort.ts'
import { IntervalJob } from '../flow/interval-job.ts'
import { tellSeldom } from '../flow/seldom.ts'
import type { Digest } from '../oci/digest.ts'
import type { BlobReader } from '../storage/blob-reader.ts'
import type { Catalog } from '../storage/catalog.ts'

export interface BlobUseOptions {
  readonly records: Pick<Catalog, 'used'>
  readonly logger: Logger
}

/** Milliseconds between two notes of what was used. */
const notedEveryMs = 10_000

/** Who reads which blob, and what was used since that was last noted in the catalog. Dispose to note the rest. */
export class BlobUse implements AsyncDisposable {
  readonly #options: BlobUseOptions
  readonly #readers = new Map<Digest, number>()
  /** When, in milliseconds since the epoch. */
  readonly #used = new Map<Digest, number>()
  readonly #noting: IntervalJob

  constructor(options: BlobUseOptions) {
    this.#options = options
    this.#noting = new IntervalJob(() => this.note(), {
      intervalMs: notedEveryMs,
      onError: (err) => tellSeldom(options.logger, 'warn', { err }, 'the catalog could not be written'),
    })
    this.#noting.start()
  }

  /** Whether it is being read, or was used so lately that the catalog does not know yet. */
  isInUse(digest: Digest): boolean {
    return this.#readers.has(digest) || this.#used.has(digest)
  }

  /** The same reader, of a blob that is in use until it is closed. */
  counted(digest: Digest, reader: BlobReader): BlobReader {
    this.#used.set(digest, Date.now())
    this.#readers.set(digest, (this.#readers.get(digest) ?? 0) + 1)
    let isOpen = true
    return {
      size: reader.size,
      get isVerified() {
        return reader.isVerified
      },
      get givesParts() {
        return reader.givesParts
      },
      verified: (options) => reader.verified(options),
      read: (buffer, position, options) => reader.read(buffer, position, options),
      ...(reader.lend && { lend: reader.lend.bind(reader) }),
      [Symbol.asyncDispose]: async () => {
        if (isOpen) this.#closed(digest)
        isOpen = false
        await reader[Symbol.asyncDispose]()
      },
    }
  }

  /** The blob is gone; whoever reads it may go on. */
  forget(digest: Digest): void {
    this.#used.delete(digest)
  }

  /** Notes what was used since the last time. Throws StorageError. */
  async note(): Promise<void> {
    // There are few seconds between two notes: what was used in the same one is noted in one go.
    const bySecond = Map.groupBy(this.#used, ([, at]) => Math.floor(at / 1000))
    this.#used.clear()
    const noting = [...bySecond.values()].map((uses) => {
      const digests = uses.map(([digest]) => digest)
      return this.#options.records.used(
        digests,
        uses.reduce((latest, [, at]) => Math.max(latest, at), 0),
      )
    })
    await Promise.all(noting)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#noting[Symbol.asyncDispose]()
    await bestEffort(this.note(), () => {})
  }

  #closed(digest: Digest): void {
    const left = (this.#readers.get(digest) ?? 1) - 1
    if (left > 0) this.#readers.set(digest, left)
    else this.#readers.delete(digest)
  }
}
