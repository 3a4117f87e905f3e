import type { Digest } from '../../oci/digest.ts'
import type { Tag } from '../../oci/reference.ts'
import type { CatalogVerbs } from '../catalog.ts'
import type { VerbsOver } from '../catalog-over.ts'
import { isAbout, type PinPattern, type PinVerbs, tagMatcherOf } from '../pins.ts'
import type { RepositoryKey } from '../repository-key.ts'
import { digestFromBytes, digestToBytes } from './digest-bytes.ts'
import { idOf } from './repository-id.ts'
import { keyed, keyIn, patternIn, pinIn, text } from './rows.ts'
import type { Statements } from './statements.ts'

/** What a verb is about that may change what is pinned in its repository. */
interface Touched {
  /** A manifest that comes, or goes. */
  readonly manifest?: Digest
  /** Tags that come, move or go. */
  readonly tags?: readonly Tag[]
  /** Milliseconds since the epoch. */
  readonly at: number
}

/** A repository in which something is pinned. */
interface Pinning {
  readonly id: number
  readonly isPinned: (tag: Tag) => boolean
}

/** What is let go was carried by nothing, and so pinned by nothing. */
type Touching = 'pulled' | 'checked' | 'putManifest' | 'deleteTag' | 'deleteManifest'

const touchedBy: { readonly [Verb in Touching]: (...of: Parameters<CatalogVerbs[Verb]>) => Touched } = {
  pulled: (_, { digest }, { tag, at }) => ({ manifest: digest, tags: tag === undefined ? [] : [tag], at }),
  checked: (_, tag, _digest, { at }) => ({ tags: [tag], at }),
  putManifest: (_, { digest }, { tags, at }) => ({ manifest: digest, tags, at }),
  // It pins nothing.
  deleteTag: (_, tag) => ({ tags: [tag], at: 0 }),
  deleteManifest: (_, digest, at) => ({ manifest: digest, at }),
}

/** The verbs of pins, and others so that what they change is pinned, or no more, in the same transaction. */
export function withPins(verbs: Omit<VerbsOver<Statements>, keyof PinVerbs>): VerbsOver<Statements> {
  const followed = Object.keys(touchedBy).map((verb) => [verb, following(verbs, verb as Touching)])
  return { ...verbs, ...Object.fromEntries(followed), ...pinVerbs }
}

function following(verbs: Pick<VerbsOver<Statements>, Touching>, verb: Touching) {
  type Any = (...parameters: unknown[]) => unknown
  const [change, touched] = [verbs[verb] as Any, touchedBy[verb] as Any]
  return (statements: Statements, repository: RepositoryKey, ...parameters: unknown[]) => {
    const pins = pinsOf(statements, repository)
    if (pins.length === 0) return change(statements, repository, ...parameters)
    const what = touched(repository, ...parameters) as Touched
    const before = reached(statements, repository, what)
    const result = change(statements, repository, ...parameters)
    const pinning = pinningOf(statements, repository, pins)
    if (pinning) {
      const roots = [...before, ...reached(statements, repository, what)]
      settleKept(statements, settle(statements, pinning, roots, what.at))
    }
    return result
  }
}

const pinVerbs: Pick<VerbsOver<Statements>, keyof PinVerbs> = {
  pin(statements, pattern, at) {
    const { origin, repository, tag } = pattern
    if (statements.run('addPin', origin, repository, tag, at) > 0) pinAll(statements, pattern, at)
  },

  unpin(statements, pattern) {
    const { origin, repository, tag } = pattern
    if (statements.run('dropPin', origin, repository, tag) === 0) return false
    const changed: Digest[] = []
    for (const key of repositoriesOf(statements, pattern)) {
      const pinning = pinningOf(statements, key, pinsOf(statements, key))
      if (!pinning) continue
      for (const digest of pointedAt(statements, pinning.id, tagMatcherOf([tag]))) {
        changed.push(...settle(statements, pinning, [digest], 0))
      }
    }
    settleKept(statements, changed)
    return true
  },
}

/** Pins anew whatever the pins want, where nobody can say what was pinned. */
export function pinEverything(statements: Statements): void {
  for (const row of statements.all('pins')) {
    const { pattern, pinnedAt } = pinIn(row)
    pinAll(statements, pattern, pinnedAt)
  }
}

/** Only adds: a search for what else wants it is not needed. */
function pinAll(statements: Statements, pattern: PinPattern, at: number): void {
  const isPinned = tagMatcherOf([pattern.tag])
  for (const key of repositoriesOf(statements, pattern)) {
    const id = idOf(statements, key)
    if (id === undefined) continue
    for (const digest of pointedAt(statements, id, isPinned)) {
      statements.run('pinClosure', id, digestToBytes(digest), at)
      statements.run('keepClosure', id, digestToBytes(digest))
    }
  }
}

/** Pins that are about a repository. */
function pinsOf(statements: Statements, repository: RepositoryKey): PinPattern[] {
  const rows = statements.all('pinsOf', ...keyed(repository))
  return rows.map(patternIn).filter((pattern) => isAbout(pattern, repository))
}

/** Undefined where nothing is known of the repository. */
function pinningOf(
  statements: Statements,
  repository: RepositoryKey,
  pins: readonly PinPattern[],
): Pinning | undefined {
  const id = idOf(statements, repository)
  return id === undefined ? undefined : { id, isPinned: tagMatcherOf(pins.map(({ tag }) => tag)) }
}

/** What becomes pinned, or is no more, by a change is among this, or is needed by something of this. */
function reached(
  statements: Statements,
  repository: RepositoryKey,
  { manifest, tags = [] }: Touched,
): Digest[] {
  const pointed = tags.flatMap((tag) => statements.all('tag', ...keyed(repository), tag))
  const id = idOf(statements, repository)
  const named =
    manifest === undefined || id === undefined ? [] : statements.all('targetsOf', id, digestToBytes(manifest))
  const found = [...pointed.map(({ digest }) => digest), ...named.map(({ target }) => target)]
  return [...(manifest === undefined ? [] : [manifest]), ...found.map(digestFromBytes)]
}

/**
 * Makes right what is pinned among these and all that they need. Of what is needed nothing is outside, so that what is
 * outside is right as it is: something is pinned by a tag, by a manifest that is outside and pinned, or by one of these
 * that is. A circle of manifests that name each other, which nobody could make, would keep itself by any other rule.
 * Returns those of which that was not right.
 */
function settle(
  statements: Statements,
  { id, isPinned }: Pinning,
  roots: readonly Digest[],
  at: number,
): Digest[] {
  const { all, needs } = closureOf(statements, id, roots)
  const manifests = JSON.stringify([...needs.keys()].map(hexOf))
  const isWanted = (digest: Digest): boolean => {
    const bytes = digestToBytes(digest)
    if (statements.get('pinnedNamer', id, bytes, manifests)) return true
    return statements.all('tagsAt', id, bytes).some(({ name }) => isPinned(text(name) as Tag))
  }
  const wanted = new Set<Digest>()
  for (const digest of all) {
    if (wanted.has(digest) || !isWanted(digest)) continue
    const pending = [digest]
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      if (wanted.has(next)) continue
      wanted.add(next)
      pending.push(...(needs.get(next) ?? []))
    }
  }
  return [...all].filter((digest) => mark(statements, id, digest, wanted.has(digest) ? at : undefined))
}

/** These and all that they need, and what each manifest among them needs. */
function closureOf(statements: Statements, id: number, roots: readonly Digest[]) {
  const all = new Set<Digest>()
  const needs = new Map<Digest, Set<Digest>>()
  for (const root of roots) {
    if (all.has(root)) continue
    all.add(root)
    for (const row of statements.all('closureOf', id, digestToBytes(root))) {
      const [manifest, target] = [digestFromBytes(row.manifest), digestFromBytes(row.target)]
      all.add(target)
      needs.set(manifest, (needs.get(manifest) ?? new Set()).add(target))
    }
  }
  return { all, needs }
}

/** `at`: undefined where it is not pinned any more. Returns whether that is new. */
function mark(statements: Statements, id: number, digest: Digest, at: number | undefined): boolean {
  const bytes = digestToBytes(digest)
  if (at !== undefined) return statements.run('pinHolding', id, bytes, at) > 0
  if (statements.run('unpinHolding', id, bytes) === 0) return false
  statements.run('dropUnfounded', id, bytes)
  return true
}

/** All at once: in a transaction as large as this one each change of a blob alone would take milliseconds. */
function settleKept(statements: Statements, digests: readonly Digest[]): void {
  if (digests.length > 0) statements.run('settleKeptOf', JSON.stringify(digests.map(hexOf)))
}

/** Repositories that are known and that a pin is about. */
function repositoriesOf(statements: Statements, pattern: PinPattern): RepositoryKey[] {
  const { origin, repository } = pattern
  const rows = repository.includes('*')
    ? statements.all('repositoriesOf', origin, '', -1)
    : [{ origin, name: repository }]
  return rows.map(keyIn).filter((key) => isAbout(pattern, key))
}

/** What the tags of a repository that fit point at. */
function pointedAt(statements: Statements, id: number, isWanted: (tag: Tag) => boolean): Digest[] {
  const rows = statements.all('tagsOf', id).filter(({ name }) => isWanted(text(name) as Tag))
  return [...new Set(rows.map(({ digest }) => digestFromBytes(digest)))]
}

/** As SQLite writes it. */
function hexOf(digest: Digest): string {
  return Buffer.from(digestToBytes(digest)).toString('hex').toUpperCase()
}
