/** Questions that spare something where an upstream answers them, and that some upstreams answer wrongly. */
export type Shortcut =
  /** HEAD of a manifest, which costs no quota and no body. */
  | 'manifest-head'
  /** The referrers API (distribution-spec end-12). */
  | 'referrers-api'

/** Milliseconds after which an upstream gets another chance. */
const retryMs: Readonly<Record<Shortcut, number>> = {
  // Each tag check is a GET for as long, which counts as a pull at some registries.
  'manifest-head': 5 * 60_000,
  'referrers-api': 60 * 60_000,
}

/**
 * Remembers for a while which shortcuts are no use at one upstream, so that the next question takes the long way at
 * once. What it remembers is never an answer: the long way decides.
 */
export class Shortcuts {
  readonly #uselessUntil = new Map<Shortcut, number>()
  readonly #proven = new Set<Shortcut>()

  /** Whether it is worth asking that way. */
  isUseful(shortcut: Shortcut): boolean {
    return performance.now() >= (this.#uselessUntil.get(shortcut) ?? 0)
  }

  /** Whether the upstream ever answered that way, so that a refusal is about what was asked for. */
  isProven(shortcut: Shortcut): boolean {
    return this.#proven.has(shortcut)
  }

  /** It led to an answer. */
  worked(shortcut: Shortcut): void {
    this.#proven.add(shortcut)
    this.#uselessUntil.delete(shortcut)
  }

  /** It led to nothing where the long way had an answer. */
  failed(shortcut: Shortcut): void {
    this.#uselessUntil.set(shortcut, performance.now() + retryMs[shortcut])
  }
}
