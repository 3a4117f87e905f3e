import type { MemoryFile } from './memory-partial.ts'

/** A blob of a store in memory, and what a power cut may take of it. */
export interface StoredEntry {
  readonly file: MemoryFile
  /** The folder was synced since the rename; else a power cut may bring back the partial of this name. */
  isDurable: boolean
  readonly partialId: string
  /** What a power cut may bring back in its place. */
  readonly before: StoredEntry | undefined
}
