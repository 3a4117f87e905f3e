import type { Source } from '../../src/content/source.ts'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import type { BlobReader } from '../../src/storage/blob-reader.ts'
import type { RepositoryKey } from '../../src/storage/repository-key.ts'

/** Bytes by digest, brought by one source at a time and whole before they are given. */
export class MemoryBytes {
  readonly #stored = new Map<Digest, Uint8Array>()

  put(bytes: Uint8Array): Digest {
    const digest = digestOf(bytes)
    this.#stored.set(digest, bytes)
    return digest
  }

  remove(digest: Digest): void {
    this.#stored.delete(digest)
  }

  async stat(digest: Digest): Promise<{ size: number } | undefined> {
    const bytes = this.#stored.get(digest)
    return bytes && { size: bytes.length }
  }

  async openStored(digest: Digest): Promise<BlobReader | undefined> {
    const bytes = this.#stored.get(digest)
    return bytes && readerOf(bytes)
  }

  async open(digest: Digest, source: Source) {
    const stored = await this.openStored(digest)
    if (stored) return { reader: stored, status: 'hit' as const, confirmedBy: new Set<RepositoryKey>() }
    const span = await source.open(0, { since: performance.now(), signal: new AbortController().signal })
    const chunks: Uint8Array[] = []
    for await (const chunk of span.body()) chunks.push(Buffer.from(chunk))
    const bytes = Buffer.concat(chunks)
    if (this.put(bytes) !== digest) throw new Error('other bytes came')
    const confirmedBy = new Set(source.repository === undefined ? [] : [source.repository])
    return { reader: readerOf(bytes), status: 'miss' as const, confirmedBy }
  }
}

function readerOf(bytes: Uint8Array): BlobReader {
  return {
    size: bytes.length,
    isVerified: true,
    verified: async () => {},
    async read(buffer, position) {
      const part = bytes.subarray(position, position + buffer.length)
      buffer.set(part)
      return part.length
    },
    async [Symbol.asyncDispose]() {},
  }
}
