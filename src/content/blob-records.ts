import type { Catalog } from '../storage/catalog.ts'

/** What the catalog knows of stored bytes, as far as whoever gives them has to. */
export type BlobRecords = Pick<
  Catalog,
  | 'blob'
  | 'sealed'
  | 'verified'
  | 'used'
  | 'gone'
  | 'repositories'
  | 'held'
  | 'usage'
  | 'leastRecent'
  | 'keeping'
  | 'evict'
  | 'removed'
>
