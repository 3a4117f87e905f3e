import { parseClaimedManifest } from './claimed-manifest.ts'
import { parseManifest, parseTagList } from './manifest.ts'
import { parseReferrers, referrerOf } from './referrers.ts'
import { parseStrictManifest } from './strict-manifest.ts'

/** The documents that are read whole, and may be of 4 MiB; pure functions of their bytes. */
export const documentReaders = {
  manifest: parseManifest,
  /** One that an upstream sent, and what it says that it is. */
  claimed: parseClaimedManifest,
  /** One that is pushed. */
  strict: parseStrictManifest,
  tags: parseTagList,
  referrers: parseReferrers,
  /** One that refers to another one, as the list of that one shows it. */
  referrer: referrerOf,
}

export type DocumentReaders = typeof documentReaders
export type DocumentKind = keyof DocumentReaders
