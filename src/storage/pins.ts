import { matcherOf } from '../names/repository-patterns.ts'
import type { Tag } from '../oci/reference.ts'
import { nameOf, originOf, type RepositoryKey } from './repository-key.ts'

/** Which tags are wanted for ever, with all that is needed to use what they point at. */
export interface PinPattern {
  readonly origin: string
  /** `*` is one part of a name, or some of it, `**` one part or more (`names/repository-patterns.ts`). */
  readonly repository: string
  /** `*` is whatever may be in a tag, or nothing. */
  readonly tag: string
}

export interface PinRecord {
  readonly pattern: PinPattern
  /** Milliseconds since the epoch. */
  readonly pinnedAt: number
}

/** What the catalog tells of pins. */
export interface PinReads {
  /** All of them, by origin, repository and tag. */
  pins(): Promise<PinRecord[]>
}

/**
 * How they come and go. What a tag that fits one points at is pinned, and what that needs as far as manifests that are
 * here say so: the children of an index, their configs and layers, also those whose bytes are still to come. It follows
 * when a tag comes, moves or goes, and when a manifest comes or goes, in the same transaction. A pin is no evidence that
 * a repository has something.
 */
export interface PinVerbs {
  /** Nothing where there is this one already. */
  pin(pattern: PinPattern, at: number): Promise<void>
  /** False where there is none. What no other pin wants is cache from then on, unless it was pushed. */
  unpin(pattern: PinPattern): Promise<boolean>
}

/** Whether a pin is about a repository. */
export function isAbout({ origin, repository }: PinPattern, key: RepositoryKey): boolean {
  const name = nameOf(key)
  // Most are told by this, before an expression is made.
  const [beginning = ''] = repository.split('*', 1)
  if (origin !== originOf(key) || !name.startsWith(beginning)) return false
  return matcherOf([repository])(name)
}

/** Tells whether a tag fits one of some patterns. */
export function tagMatcherOf(patterns: readonly string[]): (tag: Tag) => boolean {
  const expressions = patterns.map((pattern) => {
    const parts = pattern.split(/\*+/).map((part) => part.replaceAll(/[^\w-]/g, '\\$&'))
    return new RegExp(`^${parts.join('.*')}$`)
  })
  return (tag) => expressions.some((expression) => expression.test(tag))
}
