import type { BigIntStats } from 'node:fs'
import type { SealedFile } from '../partial.ts'

/** What is recorded of a file, from its `stat` with `bigint`: a number with fractions would differ from itself. */
export function sealedFile({ size, mtimeNs, ino }: BigIntStats): SealedFile {
  return {
    size: Number(size),
    mtime: Number(mtimeNs / 1_000_000n),
    // Overlay file systems number with all 64 bits, which neither a number nor SQLite's integer holds.
    inode: Number(BigInt.asUintN(52, ino)),
  }
}
