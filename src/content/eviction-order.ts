import type { Digest } from '../oci/digest.ts'
import type { FoundPartial } from '../storage/blob-store.ts'
import type { Catalog } from '../storage/catalog.ts'
import type { Quarantine } from '../storage/quarantine.ts'
import type { CachedBlob } from '../storage/stored-bytes.ts'
import type { RestingPartials } from './resting-partials.ts'

/** Why something stays although its turn has come: somebody reads it, a fill writes it, it came lately, it is kept. */
type Stays = 'read' | 'on its way' | 'fetched lately' | 'kept'

/** Something that is stored, in its turn to go. */
export interface Turn {
  /** What is damaged and set aside; what a fill has left; what is whole. */
  readonly kind: 'quarantined' | 'partial' | 'blob'
  /** A digest, or the name of a partial. */
  readonly name: string
  readonly bytes: number
  /** Milliseconds since the epoch. */
  readonly usedAt: number
  /** Milliseconds since the epoch. */
  readonly fetchedAt: number
  /** Undefined: it goes. What only was fetched lately goes where there is no other way. */
  readonly stays: Stays | undefined
}

export interface EvictionOrderOptions {
  readonly catalog: Pick<Catalog, 'leastRecent' | 'keeping'>
  readonly quarantine: Quarantine
  readonly resting: RestingPartials
  /** Has the catalog know what was used until now. */
  readonly noteUse: () => Promise<void>
  /** The names of partials that bytes come into. */
  readonly partialsUnderWay: () => ReadonlySet<string>
  readonly isRead: (digest: Digest) => boolean
  readonly isOnItsWay: (digest: Digest) => boolean
  /** Milliseconds for which what was fetched stays (`cache.keepAtLeast`). */
  readonly keepAtLeastMs: number
}

const pageSize = 256

/**
 * What would go next, and why something stays: what is damaged first, then what nobody has used for longest. What some
 * repository keeps (pushed, mounted, pinned) has no turn: see `Catalog.keeping`. Throws StorageError.
 */
export async function* evictionOrder(options: EvictionOrderOptions): AsyncGenerator<Turn, undefined> {
  const { catalog, quarantine, resting, partialsUnderWay, noteUse } = options
  await noteUse()
  for (const { digest, size, at } of quarantine.list()) {
    const isPushed = (await catalog.keeping(digest, 1)).some(({ localAt }) => localAt !== undefined)
    const stays = isPushed ? 'kept' : undefined
    yield { kind: 'quarantined', name: digest, bytes: size, usedAt: at, fetchedAt: at, stays }
  }
  const partials = (await resting.oldest()).values()
  let partial = partials.next().value
  for await (const { digest, size, usedAt, fetchedAt } of leastRecent(catalog)) {
    for (; partial && partial.touchedAt <= usedAt; partial = partials.next().value) {
      yield turnOf(partial, partialsUnderWay(), options)
    }
    const stays = blobStays(digest, fetchedAt, options)
    yield { kind: 'blob', name: digest, bytes: size, usedAt, fetchedAt, stays }
  }
  for (; partial; partial = partials.next().value) yield turnOf(partial, partialsUnderWay(), options)
  return undefined
}

async function* leastRecent(catalog: EvictionOrderOptions['catalog']): AsyncGenerator<CachedBlob, undefined> {
  let after: CachedBlob | undefined
  do {
    const page: CachedBlob[] = await catalog.leastRecent({ after, limit: pageSize })
    after = page.at(-1)
    yield* page
  } while (after)
  return undefined
}

function turnOf(
  { id, bytes, touchedAt }: FoundPartial,
  underWay: ReadonlySet<string>,
  options: EvictionOrderOptions,
): Turn {
  const isLate = isFresh(touchedAt, options.keepAtLeastMs)
  const stays = underWay.has(id) ? 'on its way' : isLate ? 'fetched lately' : undefined
  return { kind: 'partial', name: id, bytes, usedAt: touchedAt, fetchedAt: touchedAt, stays }
}

function blobStays(
  digest: Digest,
  fetchedAt: number,
  { isRead, isOnItsWay, keepAtLeastMs }: EvictionOrderOptions,
): Stays | undefined {
  if (isRead(digest)) return 'read'
  if (isOnItsWay(digest)) return 'on its way'
  return isFresh(fetchedAt, keepAtLeastMs) ? 'fetched lately' : undefined
}

/** What a clock that was ahead has stamped is not kept for as long as it was. */
function isFresh(fetchedAt: number, keepAtLeastMs: number): boolean {
  const ageMs = Date.now() - fetchedAt
  return ageMs >= 0 && ageMs < keepAtLeastMs
}
