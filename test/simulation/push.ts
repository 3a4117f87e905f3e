import { RegistryError } from '../../src/oci/error.ts'
import type { BlobWriter } from '../../src/storage/blob-writer.ts'
import { StorageError } from '../../src/storage/error.ts'
import { app } from '../storage/catalog-fixtures.ts'
import type { Ledger } from './ledger.ts'
import type { SimProcess } from './process.ts'

export interface PushParts {
  readonly ledger: Ledger
  readonly log: (what: string) => void
  readonly onProblem: (problem: string) => void
}

/** Somebody who pushes a blob that others pull, and does so again where the process ends meanwhile. */
export class SimPush {
  readonly #parts: PushParts
  #times = 0
  outcome: 'acknowledged' | 'refused' | undefined

  constructor(parts: PushParts) {
    this.#parts = parts
  }

  get isWaiting(): boolean {
    return this.outcome === undefined
  }

  get hasBegun(): boolean {
    return this.#times > 0
  }

  async push({ blobs, catalog }: SimProcess): Promise<void> {
    const { ledger, log, onProblem } = this.#parts
    const { digest, bytes, name } = ledger.blob
    this.#times += 1
    let writer: BlobWriter | undefined
    try {
      writer = await blobs.openWriter(`upload-${this.#times}`, 'sha256')
      const half = bytes.length >> 1
      await writer.append([bytes.subarray(0, half)])
      await writer.append([bytes.subarray(half)])
      await blobs.seal(writer, digest, (file) => catalog.pushed(app, digest, file, Date.now()))
      this.outcome = 'acknowledged'
    } catch (error) {
      const isKnown = error instanceof StorageError || error instanceof RegistryError
      if (!isKnown) onProblem(`I5 a push of ${name} was told ${error}`)
      await writer?.discard(error as Error).catch(() => {})
      // Whoever pushes has its upload open until then.
      this.outcome = 'refused'
    }
    log(`a push of ${name} is ${this.outcome}`)
  }
}
