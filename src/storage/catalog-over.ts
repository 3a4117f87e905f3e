import type { CatalogReads, CatalogVerbs } from './catalog.ts'

/** The verbs as what runs at once, and as a whole or not at all, over some store. */
export type VerbsOver<Store> = {
  readonly [Verb in keyof CatalogVerbs]: (
    store: Store,
    ...parameters: Parameters<CatalogVerbs[Verb]>
  ) => Awaited<ReturnType<CatalogVerbs[Verb]>>
}

/** The questions likewise. */
export type ReadsOver<Store> = {
  readonly [Name in keyof CatalogReads]: (
    store: Store,
    ...parameters: Parameters<CatalogReads[Name]>
  ) => Awaited<ReturnType<CatalogReads[Name]>>
}
