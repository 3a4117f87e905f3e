import { createHash, type Hash } from 'node:crypto'
import { RegistryError } from './error.ts'

/** A verified spelling of a digest, `sha256:<64 hex>` or `sha512:<128 hex>` (image-spec, "Digests"). */
export type Digest = string & { readonly __brand: 'Digest' }

export type DigestAlgorithm = 'sha256' | 'sha512'

const grammar = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/

/** Tells whether `text` is a digest of a registered algorithm. The text is not changed in any way. */
export function isDigest(text: string): text is Digest {
  // `$` would accept a trailing newline in other languages; in JavaScript without the m flag it does not.
  return grammar.test(text)
}

/** Parses a digest from the wire. Throws RegistryError DIGEST_INVALID (400). */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text
  throw new RegistryError(
    'DIGEST_INVALID',
    `"${text.slice(0, 150)}" is not a digest: expected sha256: and 64, or sha512: and 128 lower-case hex digits`,
  )
}

/** The algorithm of a digest. */
export function digestAlgorithm(digest: Digest): DigestAlgorithm {
  return digest.startsWith('sha256:') ? 'sha256' : 'sha512'
}

/** The hex part of a digest, safe as a file name. */
export function digestHex(digest: Digest): string {
  return digest.slice(7)
}

/** A running hash for the digest's algorithm. */
export function createDigestHash(algorithm: DigestAlgorithm): Hash {
  return createHash(algorithm)
}

/** The digest of bytes in memory. */
export function digestOf(bytes: Uint8Array, algorithm: DigestAlgorithm = 'sha256'): Digest {
  return finishDigest(createHash(algorithm).update(bytes), algorithm)
}

/** Ends a running hash; it cannot be updated afterwards. */
export function finishDigest(hash: Hash, algorithm: DigestAlgorithm): Digest {
  return `${algorithm}:${hash.digest('hex')}` as Digest
}

const digestsOfNothing: ReadonlySet<string> = new Set([
  digestOf(new Uint8Array(), 'sha256'),
  digestOf(new Uint8Array(), 'sha512'),
])

/** Whether it names content of no bytes, whose size is thereby known before anybody is asked. */
export function isDigestOfNothing(digest: Digest): boolean {
  return digestsOfNothing.has(digest)
}
