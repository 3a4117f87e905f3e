import { type Digest, digestAlgorithm, digestHex } from '../../oci/digest.ts'
import { DamagedRecord } from './sqlite-errors.ts'

// The first byte is the algorithm, so that digests sort as their spellings do.
const sha256 = 1
const sha512 = 2
const bytesOf = { [sha256]: 32, [sha512]: 64 }

/** A digest as it lies in the catalog: half as long as its spelling, and each index has it once more. */
export function digestToBytes(digest: Digest): Uint8Array {
  const algorithm = digestAlgorithm(digest) === 'sha256' ? '01' : '02'
  return Buffer.from(algorithm + digestHex(digest), 'hex')
}

/** Throws DamagedRecord where a column holds anything else. */
export function digestFromBytes(value: unknown): Digest {
  const bytes =
    value instanceof Uint8Array ? Buffer.from(value.buffer, value.byteOffset, value.length) : undefined
  const algorithm = bytes?.[0]
  if (!bytes || (algorithm !== sha256 && algorithm !== sha512) || bytes.length !== bytesOf[algorithm] + 1) {
    throw new DamagedRecord('a digest in the catalog is none')
  }
  return `${algorithm === sha256 ? 'sha256' : 'sha512'}:${bytes.toString('hex', 1)}` as Digest
}
