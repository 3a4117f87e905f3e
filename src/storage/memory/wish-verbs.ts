import type { VerbsOver } from '../catalog-over.ts'
import type { Wanted, Wish, WishVerbs } from '../wishes.ts'
import { by, type CatalogTables, keyOf } from './catalog-tables.ts'

/** Those of `memoryVerbs` that are about what is to be fetched later. */
export const wishVerbs: Pick<VerbsOver<CatalogTables>, keyof WishVerbs> = {
  wish(tables, wish, most) {
    if (!Number.isSafeInteger(wish.askedAt) || !Number.isSafeInteger(wish.dueAt)) {
      throw new TypeError('a time is a whole number of milliseconds')
    }
    const key = wishKey(wish)
    const platform = wish.platform ?? tables.wishes.get(key)?.platform
    tables.wishes.set(key, { ...wish, platform })
    for (const old of inOrder(tables).slice(0, -most)) tables.wishes.delete(wishKey(old))
  },

  unwish(tables, wanted) {
    return tables.wishes.delete(wishKey(wanted))
  },
}

/** Those first that were wanted first. */
export function inOrder(tables: CatalogTables): Wish[] {
  return [...tables.wishes.values()].toSorted(by('askedAt', 'repository', 'reference', 'kind'))
}

function wishKey({ repository, reference, kind }: Wanted): string {
  return keyOf(repository, reference, kind)
}
