import { isIP } from 'node:net'
import type { Asker } from './question.ts'
import { parseRateLimit, type RateLimit } from './rate-limit.ts'

/** By what an upstream counts pulls (`docker-ratelimit-source`), of which nothing is told but its kind. */
type SourceKind = 'address' | 'account' | 'unknown'

/** A quota of pulls, as an upstream last told of it. */
export interface ToldQuota extends RateLimit {
  /** As whom it was asked. */
  readonly as: Asker
  /** What it counts by: the kind, with a number where it is not the first of its kind, such as `address 2`. */
  readonly source: string
  /** Milliseconds since the epoch. */
  readonly heardAt: number
}

interface Entry {
  readonly quota: ToldQuota
  /** What the upstream calls it: an address of ours, or the account's id. */
  readonly id: string
  /** Milliseconds of `performance.now()`. */
  readonly at: number
}

/** Sources of each asker that are told apart: a line may have several addresses, or another one each day. */
const maximumSources = 4
const maximumIdLength = 100
/** Docker Hub's, where none is told. */
const defaultWindowSeconds = 21_600

/**
 * What an upstream told of its quotas of pulls, apart for each account and each address that it counts by. An address
 * and an account's id are nobody's business but the operator's, whose log has them: all others are told the kind.
 */
export class Quotas {
  readonly #entries: Record<Asker, Entry[]> = { anyone: [], account: [] }

  /** Reads what the headers of an answer tell, if they tell something. Returns what it counts by, where that is new. */
  note(
    as: Asker,
    headers: Readonly<Record<string, unknown>>,
  ): { readonly source: string; readonly id: string } | undefined {
    const told = parseRateLimit(headers)
    if (!told) return undefined
    const header = headers['docker-ratelimit-source']
    const id = typeof header === 'string' ? header.trim().slice(0, maximumIdLength) : ''
    const at = performance.now()
    const known = this.#entries[as].filter((entry) => at - entry.at < windowMs(entry.quota))
    const others = known.filter((entry) => entry.id !== id).slice(0, maximumSources - 1)
    const same = known.find((entry) => entry.id === id)
    const source = same?.quota.source ?? freeName(kindOf(id), others)
    const quota = { ...told, as, source, heardAt: Date.now() }
    this.#entries[as] = [{ quota, id, at }, ...others]
    return same ? undefined : { source, id }
  }

  /** Each that was heard of within its window, and the last one of each asker. */
  get all(): readonly ToldQuota[] {
    const now = performance.now()
    return Object.values(this.#entries).flatMap((entries) =>
      entries
        .filter(({ at, quota }, index) => index === 0 || now - at < windowMs(quota))
        .map(({ quota }) => quota),
    )
  }

  /** What was last heard of an asker's. */
  last(as: Asker): RateLimit | undefined {
    const quota = this.#entries[as][0]?.quota
    return quota && { limit: quota.limit, remaining: quota.remaining, windowSeconds: quota.windowSeconds }
  }

  /**
   * Pulls that an asker has left, as far as is known, and the seconds until that may be another number without a pull of
   * ours: when its window is over nothing is known of it.
   */
  left(as: Asker): { readonly pulls: number; readonly seconds: number } | undefined {
    const [entry] = this.#entries[as]
    if (entry?.quota.remaining === undefined) return undefined
    const seconds = Math.ceil((entry.at + windowMs(entry.quota) - performance.now()) / 1000)
    return seconds > 0 ? { pulls: entry.quota.remaining, seconds } : undefined
  }
}

function windowMs({ windowSeconds = defaultWindowSeconds }: RateLimit): number {
  return windowSeconds * 1000
}

function kindOf(id: string): SourceKind {
  if (id === '') return 'unknown'
  return isIP(id) ? 'address' : 'account'
}

/** Numbers are used again: figures would otherwise have a new name with each new address. */
function freeName(kind: SourceKind, others: readonly Entry[]): string {
  const names = new Set(others.map(({ quota }) => quota.source))
  let name: string = kind
  for (let number = 2; names.has(name); number += 1) name = `${kind} ${number}`
  return name
}
