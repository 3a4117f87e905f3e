import type { Digest } from '../../oci/digest.ts'
import type { VerbsOver } from '../catalog-over.ts'
import type { SealedFile } from '../partial.ts'
import type { StoredBytesVerbs } from '../stored-bytes.ts'
import { digestToBytes } from './digest-bytes.ts'
import type { Statements } from './statements.ts'

/** Those of `sqliteVerbs` that are about the bytes that are here. */
export const storedBytesVerbs: Pick<VerbsOver<Statements>, keyof StoredBytesVerbs> = {
  sealed(statements, digest, file, at) {
    store(statements, 'sealed', digest, file, at)
  },

  verified(statements, digest, file, at) {
    store(statements, 'verified', digest, file, at)
  },

  adopt(statements, digest, { size, mtime, inode }, at) {
    return statements.run('adopt', digestToBytes(digest), size, mtime, inode, at) > 0
  },

  used(statements, digests, at) {
    for (const digest of digests) statements.run('used', digestToBytes(digest), at)
  },

  gone(statements, digest) {
    statements.run('gone', digestToBytes(digest))
  },

  evict(statements, digest, usedBefore) {
    return goes(statements, 'evict', digestToBytes(digest), usedBefore)
  },

  mayGo(statements, digest) {
    return statements.get('mayGo', digestToBytes(digest)) !== undefined
  },

  removed(statements, digests) {
    for (const digest of digests) statements.run('endRemoval', digestToBytes(digest))
  },
}

/** The bytes are here. */
export function store(
  statements: Statements,
  statement: 'sealed' | 'verified',
  digest: Digest,
  { size, mtime, inode }: SealedFile,
  at: number,
): void {
  statements.run(statement, digestToBytes(digest), size, mtime, inode, at)
}

/** Removes the record of bytes where the statement has it so; they may go then. */
export function goes(
  statements: Statements,
  statement: 'dropUnheld' | 'evict',
  digest: Uint8Array,
  ...parameters: number[]
): boolean {
  if (statements.run(statement, digest, ...parameters) === 0) return false
  statements.run('addRemoval', digest)
  return true
}
