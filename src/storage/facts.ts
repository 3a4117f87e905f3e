/** What the program once found out and goes by from then on. */
export type FactName =
  /** Bytes: what `cache.maxSize: auto` came to. */
  | 'cache-max-size'
  /** Bytes of the disk for which it did: the folder may be moved to another one. */
  | 'cache-disk-size'
  /** Which journal of what was pushed is this catalog's, and the number of the last change that is in both. */
  | 'journal-catalog'
  | 'journal-sequence'

/** What the catalog tells of the program itself. */
export interface FactReads {
  /** A whole number; undefined where it was never found out. */
  fact(name: FactName): Promise<number | undefined>
}

/** How that is written down. */
export interface FactVerbs {
  setFact(name: FactName, value: number): Promise<void>
}
