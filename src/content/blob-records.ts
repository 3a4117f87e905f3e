import type { Catalog } from '../storage/catalog.ts'

/** What the catalog knows of stored bytes, as far as whoever gives them has to. */
export type BlobRecords = Pick<
  Catalog,
  | 'blob'
  | 'sealed'
  | 'verified'
  | 'adopt'
  | 'used'
  | 'gone'
  | 'localHolders'
  | 'usage'
  | 'leastRecent'
  | 'keeping'
  | 'evict'
  | 'mayGo'
  | 'removed'
>
