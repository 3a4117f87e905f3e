// What was pushed outlives the catalog. Thought of: the catalog deleted, an older one put back, before and behind the
// point at which the journal was written anew; the journal cut at every byte, with flipped bytes, of another catalog,
// removed, replaced, in the way; a disk that does not take it; a catalog of which pages are damaged.
import assert from 'node:assert/strict'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import type { Digest } from '../../../src/oci/digest.ts'
import type { Tag } from '../../../src/oci/reference.ts'
import type { Catalog, ManifestReference } from '../../../src/storage/catalog.ts'
import { MemoryCatalog } from '../../../src/storage/memory/memory-catalog.ts'
import { migrate } from '../../../src/storage/sqlite/migrations/migrate.ts'
import { PushedJournal } from '../../../src/storage/sqlite/pushed/pushed-journal.ts'
import { sqliteReads } from '../../../src/storage/sqlite/reads.ts'
import { Statements } from '../../../src/storage/sqlite/statements.ts'
import { sqliteVerbs } from '../../../src/storage/sqlite/verbs.ts'
import { until } from '../../support/settle.ts'
import { blobOf, fileOf, manifestOf, repositoryOf } from '../catalog-fixtures.ts'
import { storageFolder } from '../files/storage-folder.ts'

const repositories = ['a', 'b'].map((name) => repositoryOf('local', name))
const layers = ['one', 'two', 'three'].map((text) => blobOf(text))
const tags = ['v1', 'v2'] as Tag[]

interface Known {
  readonly manifest: ReturnType<typeof manifestOf>
  readonly references: readonly ManifestReference[]
}

/** Images, indexes of them, and what is about them. */
const known: Known[] = []
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
/** What may happen, mostly pushes. */
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ put: someManifest, repository: someRepository, tags: someTags }) },
  fc.record({ deleted: someManifest, repository: someRepository }),
  fc.record({ untagged: fc.integer({ min: 0, max: 1 }), repository: someRepository }),
  fc.record({ collected: fc.constant(true as const) }),
)
interface Step {
  readonly repository?: number
  readonly put?: number
  readonly tags?: readonly number[]
  readonly deleted?: number
  readonly untagged?: number
  readonly collected?: true
}

/** Does it to a catalog; the n-th one of all. */
async function take(catalog: Catalog, { repository = 0, ...step }: Step, n: number): Promise<void> {
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
  } else if (step.untagged !== undefined) await catalog.deleteTag(key, tags[step.untagged] as Tag)
  else
    for (const one of await catalog.idle(at - 500, { limit: 100 }))
      await catalog.letGo(one.repository, one.digest, at, 500)
}

/** All that was pushed and is there, and what it needs. */
async function pushedIn(catalog: Catalog) {
  const found: Record<string, unknown> = {}
  for (const key of repositories) {
    for (const tag of await catalog.tags(key)) found[`${key}:${tag}`] = await catalog.tag(key, tag)
    for (const { manifest, references } of known) {
      const held = await catalog.held(key, manifest.digest)
      if (held?.mediaType === undefined) continue
      const bytes = (await catalog.manifest(key, manifest.digest))?.bytes
      assert.deepEqual(Buffer.from(bytes ?? []), Buffer.from(manifest.bytes))
      found[`${key}@${manifest.digest}`] = { ...held, localAt: held.localAt !== undefined }
      for (const { target, kind } of references) {
        const needed = await catalog.held(key, target)
        const naming = await catalog.naming(key, target, kind, { limit: 10 })
        found[`${key}@${manifest.digest} ${kind} ${target}`] = {
          naming,
          named: await catalog.named(key, target),
          isHeld: needed?.localAt !== undefined,
          idleSince: needed?.idleSince,
        }
      }
    }
  }
  return found
}

/** The part of the writer that matters here, with nothing synced: a catalog in memory, and the journal. */
class Life implements Disposable {
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
function begun(folder: string, older?: string): Life {
  const now = join(folder, 'begun.db')
  const life = new Life(folder, older)
  life.copyTo(now)
  life[Symbol.dispose]()
  return new Life(folder, now)
}

type Run = (statements: Statements, ...parameters: never[]) => unknown

for (const [what, isOlder] of [
  ['deleted', false],
  ['replaced by an older one', true],
] as const) {
  test(`the catalog is ${what}: all that was pushed is there, and nothing that was deleted`, async (t) => {
    const steps = fc.array(step, { minLength: 1, maxLength: 30 })
    await fc.assert(
      fc.asyncProperty(steps, fc.nat(), fc.nat(), async (steps, cut, anew) => {
        const folder = await storageFolder(t)
        const older = join(folder, 'older.db')
        const expected = new MemoryCatalog()
        const stops = [cut % steps.length, anew % steps.length]
        let life = begun(folder)
        for (const [n, one] of steps.entries()) {
          if (n === stops[1]) {
            await rm(join(folder, 'pushed.journal'), { force: true })
            life.copyTo(join(folder, 'now.db'))
            life[Symbol.dispose]()
            life = begun(folder, join(folder, 'now.db'))
          }
          if (n === stops[0]) life.copyTo(older)
          await take(life.reads, one, n)
          await take(expected, one, n)
        }
        life[Symbol.dispose]()
        {
          using again = new Life(folder, isOlder ? older : undefined)
          assert.deepEqual(await pushedIn(again.reads), await pushedIn(expected))
          again.copyTo(older)
        }
        using inStep = new Life(folder, older)
        assert.deepEqual(inStep.journal.found, {}, 'both are in step')
        assert.deepEqual(await pushedIn(inStep.reads), await pushedIn(expected))
      }),
      { numRuns: 40 },
    )
  })
}

/** Pushes, what is there after each of them, and how long the journal was then. */
async function pushes(t: TestContext) {
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

test('cut at any byte: all that was whole before it is there', async (t) => {
  const { folder, journal, states, sizes } = await pushes(t)
  const whole = readFileSync(journal)
  const begin = sizes[0] ?? 0
  for (let size = begin; size <= whole.length; size += 1 + (size % 7)) {
    writeFileSync(journal, whole.subarray(0, size))
    using again = new Life(folder)
    assert.deepEqual(await pushedIn(again.reads), states[sizes.findLastIndex((end) => end <= size)])
  }
})

test('whatever byte is flipped: at most two changes are lost, and it is told', async (t) => {
  const { folder, journal, sizes, last } = await pushes(t)
  const whole = readFileSync(journal)
  const all = Object.keys(last ?? {}).length
  for (let at = 0; at < whole.length; at += 23) {
    const flipped = Buffer.from(whole)
    flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8))
    writeFileSync(journal, flipped)
    using again = new Life(folder)
    const found = Object.keys(await pushedIn(again.reads)).length
    assert.ok(found > all - 12, `${found} of ${all} where ${at} is flipped`)
    // The last one may as well have been cut off by a kill.
    const isTold = at >= 160 && at < (sizes.at(-2) ?? 0) - 1
    if (isTold) assert.ok((again.journal.found.replayed?.unreadable ?? 0) > 0, `${at}`)
  }
})

test('damaged where the catalog is whole: it is written anew before it is needed', async (t) => {
  const { folder, journal, now, last } = await pushes(t)
  const whole = readFileSync(journal)
  for (const at of [20, 200, whole.length - 50]) {
    const flipped = Buffer.from(whole)
    flipped[at] = (flipped[at] ?? 0) ^ 1
    writeFileSync(journal, flipped)
    {
      using life = new Life(folder, now)
      const inode = statSync(journal).ino
      await until(() => statSync(journal).ino !== inode)
      assert.deepEqual(await pushedIn(life.reads), last)
    }
    using again = new Life(folder)
    assert.deepEqual(await pushedIn(again.reads), last)
    assert.equal(again.journal.found.replayed?.unreadable, 0)
  }
})

test('removed, replaced, or cut short while it is open: told, and written anew with what came since', async (t) => {
  const spoil: Record<string, (path: string) => void> = {
    removed: (path) => rmSync(path),
    replaced: (path) => {
      rmSync(path)
      writeFileSync(path, '')
    },
    cut: (path) => truncateSync(path, 100),
  }
  for (const [what, spoiled] of Object.entries(spoil)) {
    const { folder, journal, now } = await pushes(t)
    let last: unknown
    {
      using life = new Life(folder, now)
      spoiled(journal)
      await take(life.reads, { untagged: 1 }, 20)
      await take(life.reads, { put: 0, repository: 1, tags: [0] }, 21)
      last = await pushedIn(life.reads)
      await until(() => life.troubles.length === 2)
      assert.match(String(life.troubles[0]), /removed or replaced/, what)
      assert.equal(life.troubles[1], undefined)
    }
    using again = new Life(folder)
    assert.deepEqual(await pushedIn(again.reads), last)
  }
})

test('of another catalog: it is kept, and nothing of it comes in', async (t) => {
  const one = await pushes(t)
  const other = await pushes(t)
  copyFileSync(one.journal, other.journal)
  using life = new Life(other.folder, other.now)
  await take(life.reads, { untagged: 0 }, 20)
  assert.equal(life.journal.found.replayed, undefined)
  assert.deepEqual(readFileSync(life.journal.found.keptAs ?? ''), readFileSync(one.journal))
})

test('a damaged catalog: what could not be read of it comes from the journal, and the history of tags stays', async (t) => {
  const { folder, now, last } = await pushes(t)
  const moves = 'SELECT repository, name, moved_at, hex(digest) FROM tag_move ORDER BY 1, 2, 3'
  let before: unknown
  {
    using damaged = new DatabaseSync(now)
    before = damaged.prepare(moves).all()
    damaged.exec('DELETE FROM holding; DELETE FROM manifest; DELETE FROM tag')
  }
  using life = new Life(folder, now, true)
  assert.deepEqual(await pushedIn(life.reads), last)
  assert.deepEqual(life.database.prepare(moves).all(), before)
})

test('it has the mode of the catalog, and is written anew before it has grown much', async (t) => {
  const { folder, journal, now } = await pushes(t)
  chmodSync(now, 0o600)
  rmSync(journal)
  let last: unknown
  let largest = 0
  {
    using life = new Life(folder, now)
    await until(() => existsSync(journal))
    assert.equal(statSync(journal).mode & 0o777, 0o600)
    for (let n = 0; n < 1000; n += 1) {
      await take(life.reads, { put: n % known.length, tags: [n % 2] }, n)
      if (n % 10 === 0) await new Promise((resolve) => setImmediate(resolve))
      largest = Math.max(largest, statSync(journal).size)
    }
    last = await pushedIn(life.reads)
  }
  assert.ok(largest > 100_000 && largest < 200_000, `${largest} bytes`)
  using again = new Life(folder)
  assert.deepEqual(await pushedIn(again.reads), last)
})
