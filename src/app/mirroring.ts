import type { AppOptions } from '../app.ts'
import type { Blobs } from '../content/blobs.ts'
import type { OpenExpiring } from '../flow/expiring.ts'
import type { DocumentReader } from '../oci/document-reader.ts'
import { createMirror, type Mirror } from '../registry/mirror.ts'
import type { Catalog } from '../storage/catalog.ts'
import type { RegistryClient } from '../upstream/registry-client.ts'

export interface MirroringParts {
  readonly catalog: Catalog
  readonly blobs: Blobs
  readonly expiring: OpenExpiring
  readonly documents: DocumentReader
  readonly patienceMs: number
  readonly upstreams: readonly RegistryClient[]
}

/** Makes what mirrored repositories share, as configured; what of it works by itself ends with `building`. */
export function mirroring(
  parts: MirroringParts,
  { config, readAheadMs, wantedSpreadMs, logger }: AppOptions,
  building: AsyncDisposableStack,
): Mirror {
  const { negative, revalidate, serveStale, staleAfter, servePrivate, readAhead, wanted } = config.cache
  const mirror = createMirror({
    ...parts,
    revalidateMs: revalidate,
    negativeMs: negative,
    serveStaleMs: serveStale,
    staleAfterMs: staleAfter,
    servePrivateMs: servePrivate,
    readAheadBytes: readAhead,
    readAheadMs,
    isWanted: wanted,
    wantedSpreadMs,
    logger,
  })
  building.use(mirror.readAhead)
  building.use(mirror.wanted)
  mirror.wanted?.start()
  return mirror
}
