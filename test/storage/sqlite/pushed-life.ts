import assert from 'node:assert/strict'
import { copyFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { TestContext } from 'node:test'
import fc from 'fast-check'
import type { Digest } from '../../../src/oci/digest.ts'
import type { Tag } from '../../../src/oci/reference.ts'
import type { Catalog, ManifestReference } from '../../../src/storage/catalog.ts'
import type { PinPattern } from '../../../src/storage/pins.ts'
import { migrate } from '../../../src/storage/sqlite/migrations/migrate.ts'
import { PushedJournal } from '../../../src/storage/sqlite/pushed/pushed-journal.ts'
import { sqliteReads } from '../../../src/storage/sqlite/reads.ts'
import { Statements } from '../../../src/storage/sqlite/statements.ts'
import { sqliteVerbs } from '../../../src/storage/sqlite/verbs.ts'
import { blobOf, fileOf, manifestOf, repositoryOf } from '../catalog-fixtures.ts'
import { storageFolder } from '../files/storage-folder.ts'

export const repositories = ['a', 'b'].map((name) => repositoryOf('local', name))
export const layers = ['one', 'two', 'three'].map((text) => blobOf(text))
const tags = ['v1', 'v2'] as Tag[]

interface Known {
  readonly manifest: ReturnType<typeof manifestOf>
  readonly references: readonly ManifestReference[]
}

/** Images, indexes of them, and what is about them. */
export const known: Known[] = []
for (const [n, target] of layers.entries()) {
  const references = [{ target, kind: 'layer', size: 5 + n } as const]
  known.push({ manifest: manifestOf(`{"layer":${n}}`), references })
}
for (const n of [0, 1]) {
  const target = known[n]?.manifest.digest as Digest
  known.push({ manifest: manifestOf(`{"index":${n}}`), references: [{ target, kind: 'manifest' }] })
  const about = { target, kind: 'subject', artifactType: 'a/b' } as const
  known.push({ manifest: manifestOf(`{"about":${n}}`), references: [about] })
}

const someRepository = fc.integer({ min: 0, max: repositories.length - 1 })
const someManifest = fc.integer({ min: 0, max: known.length - 1 })
const someTags = fc.subarray([0, 1])
const somePin = fc.record({
  origin: fc.constantFrom('local', 'docker.io'),
  repository: fc.constantFrom('a', 'b', '*'),
  tag: fc.constantFrom('v1', '*'),
})
/** What may happen, mostly pushes. */
export const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ put: someManifest, repository: someRepository, tags: someTags }) },
  fc.record({ deleted: someManifest, repository: someRepository }),
  fc.record({ untagged: fc.integer({ min: 0, max: 1 }), repository: someRepository }),
  fc.record({ collected: fc.constant(true as const) }),
  fc.record({ pinned: somePin }),
  fc.record({ unpinned: somePin }),
)
export interface Step {
  readonly repository?: number
  readonly put?: number
  readonly tags?: readonly number[]
  readonly deleted?: number
  readonly untagged?: number
  readonly collected?: true
  readonly pinned?: PinPattern
  readonly unpinned?: PinPattern
}

/** Does it to a catalog; the n-th one of all. */
export async function take(catalog: Catalog, { repository = 0, ...step }: Step, n: number): Promise<void> {
  const key = repositories[repository] as (typeof repositories)[number]
  const at = 1000 * (n + 1)
  if (step.put !== undefined) {
    const { manifest, references } = known[step.put] as Known
    for (const { target, kind } of references)
      if (kind === 'layer') await catalog.pushed(key, target, fileOf(5), at)
    const pointing = (step.tags ?? []).map((tag) => tags[tag] as Tag)
    await catalog.putManifest(key, manifest, { references, tags: pointing, at })
  } else if (step.deleted !== undefined) {
    await catalog.deleteManifest(key, (known[step.deleted] as Known).manifest.digest, at)
  } else if (step.pinned) await catalog.pin(step.pinned, at)
  else if (step.unpinned) await catalog.unpin(step.unpinned)
  else if (step.untagged !== undefined) await catalog.deleteTag(key, tags[step.untagged] as Tag)
  else
    for (const one of await catalog.idle(at - 500, { limit: 100 }))
      await catalog.letGo(one.repository, one.digest, at, 500)
}

/** All that was pushed and is there, and what it needs. */
export async function pushedIn(catalog: Catalog) {
  const found: Record<string, unknown> = { pins: await catalog.pins() }
  for (const key of repositories) {
    for (const tag of await catalog.tags(key)) found[`${key}:${tag}`] = await catalog.tag(key, tag)
    for (const { manifest, references } of known) {
      const held = await catalog.held(key, manifest.digest)
      if (held?.mediaType === undefined) continue
      const bytes = (await catalog.manifest(key, manifest.digest))?.bytes
      assert.deepEqual(Buffer.from(bytes ?? []), Buffer.from(manifest.bytes))
      found[`${key}@${manifest.digest}`] = {
        ...held,
        localAt: held.localAt !== undefined,
        pinnedAt: held.pinnedAt !== undefined,
        // What is removed once more is idle from then on.
        idleSince: held.idleSince !== undefined,
      }
      for (const { target, kind } of references) {
        const needed = await catalog.held(key, target)
        const naming = await catalog.naming(key, target, kind, { limit: 10 })
        found[`${key}@${manifest.digest} ${kind} ${target}`] = {
          naming,
          named: await catalog.named(key, target),
          isHeld: needed?.localAt !== undefined,
          isIdle: needed?.idleSince !== undefined,
        }
      }
    }
  }
  return found
}

/** The part of the writer that matters here, with nothing synced: a catalog in memory, and the journal. */
export class Life implements Disposable {
  readonly database: DatabaseSync
  readonly journal: PushedJournal
  readonly troubles: unknown[] = []
  readonly reads: Catalog
  readonly #statements: Statements

  constructor(folder: string, older?: string, isSalvaged = false) {
    const path = join(folder, 'catalog.db')
    rmSync(path, { force: true })
    if (older !== undefined) copyFileSync(older, path)
    this.database = new DatabaseSync(path)
    this.database.exec('PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY')
    migrate(this.database)
    this.#statements = new Statements(this.database)
    this.journal = PushedJournal.open({
      database: this.database,
      statements: this.#statements,
      path: join(folder, 'pushed.journal'),
      catalogPath: path,
      isSalvaged,
      roomForChanges: 100_000,
      retryMs: 5,
      // As the writer does, which asks whether the file lies in its place.
      assertSound: () => void statSync(path),
      onTrouble: (error) => this.troubles.push(error),
    })
    this.reads = new Proxy({} as Catalog, { get: (_, name) => this.#run(name as never) })
  }

  #run(name: keyof typeof sqliteReads & keyof typeof sqliteVerbs) {
    return async (...parameters: never[]) => {
      const read = sqliteReads[name] as unknown as Run
      if (read) return read(this.#statements, ...parameters)
      this.database.exec('BEGIN')
      const result = (sqliteVerbs[name] as unknown as Run)(this.#statements, ...parameters)
      const changes = this.journal.numbered([{ verb: name, parameters, result }])
      this.database.exec('COMMIT')
      this.journal.append(changes)
      return result
    }
  }

  /** Keeps the catalog as it is now. */
  copyTo(path: string): void {
    rmSync(path, { force: true })
    this.database.exec(`VACUUM INTO '${path}'`)
  }

  [Symbol.dispose](): void {
    this.journal.close()
    this.database.close()
  }
}

/** With a journal that was written anew. */
export function begun(folder: string, older?: string): Life {
  const now = join(folder, 'begun.db')
  const life = new Life(folder, older)
  life.copyTo(now)
  life[Symbol.dispose]()
  return new Life(folder, now)
}

type Run = (statements: Statements, ...parameters: never[]) => unknown

/** Pushes, what is there after each of them, and how long the journal was then. */
export async function pushes(t: TestContext) {
  const folder = await storageFolder(t)
  const journal = join(folder, 'pushed.journal')
  const now = join(folder, 'now.db')
  using life = begun(folder)
  const states = [await pushedIn(life.reads)]
  const sizes = [statSync(journal).size]
  for (const n of known.keys()) {
    await take(life.reads, { put: n, tags: [n % 2] }, n)
    states.push(await pushedIn(life.reads))
    sizes.push(statSync(journal).size)
  }
  life.copyTo(now)
  return { folder, journal, now, states, sizes, last: states.at(-1) }
}
