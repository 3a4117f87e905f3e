import assert from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import type { Digest } from '../../../src/oci/digest.ts'
import type { Tag } from '../../../src/oci/reference.ts'
import type { CatalogVerbs, ReferenceKind } from '../../../src/storage/catalog.ts'
import { CatalogTables } from '../../../src/storage/memory/catalog-tables.ts'
import { MemoryCatalog } from '../../../src/storage/memory/memory-catalog.ts'
import { memoryVerbs } from '../../../src/storage/memory/verbs.ts'
import type { RepositoryKey } from '../../../src/storage/repository-key.ts'
import { migrate } from '../../../src/storage/sqlite/migrations/migrate.ts'
import { type misses, sqliteReads } from '../../../src/storage/sqlite/reads.ts'
import { Statements } from '../../../src/storage/sqlite/statements.ts'
import { StoredTotals } from '../../../src/storage/sqlite/stored-totals.ts'
import { sqliteVerbs } from '../../../src/storage/sqlite/verbs.ts'
import { alpine, app, blobOf, fileOf, manifestOf, repositoryOf } from '../catalog-fixtures.ts'
import { wrongRows } from './wrong-rows.ts'

type Verb = keyof CatalogVerbs
type Step = { [Name in Verb]: { verb: Name; parameters: Parameters<CatalogVerbs[Name]> } }[Verb]

const locals = [app, repositoryOf('local', 'other')]
const mirrored = [alpine, repositoryOf('quay.io', 'x')]
const manifests = ['{"one":1}', '{"two":2}', '{"three":3}'].map((text) => manifestOf(text))
const digests = [...['a', 'b', 'c'].map(blobOf), ...manifests.map(({ digest }) => digest)]
const tags = ['v1', 'v2'] as Tag[]
const kinds: ReferenceKind[] = ['config', 'layer', 'manifest', 'subject']
const ids = ['u1', 'u2']

const at = fc.integer({ min: 0, max: 60 })
const digest = fc.constantFrom(...digests)
const tag = fc.constantFrom(...tags)
const manifest = fc
  .constantFrom(...manifests)
  .chain((one) => fc.constantFrom(one, { ...one, mediaType: 'application/other' }))
const file = fc.integer({ min: 0, max: 9 }).map(fileOf)
const references = fc.array(
  fc.record({
    target: digest,
    kind: fc.constantFrom(...kinds),
    size: fc.option(fc.nat(9), { nil: undefined }),
    artifactType: fc.option(fc.constant('a/b'), { nil: undefined }),
  }),
  { maxLength: 3 },
)
const asker = fc.record({ as: fc.constantFrom('anyone', 'account'), at } as const)

const pattern = fc.record({
  origin: fc.constantFrom('local', 'docker.io'),
  repository: fc.constantFrom('app', 'library/alpine', '*', '**'),
  tag: fc.constantFrom('v1', 'v*', '*', 'w'),
})

const wish = fc.record({
  repository: fc.constantFrom(...mirrored),
  reference: fc.constantFrom('v1', 'w') as fc.Arbitrary<Tag>,
  kind: fc.constantFrom('manifest', 'blob'),
  platform: fc.constantFrom('linux/amd64', undefined),
  askedAt: at,
  dueAt: at,
} as const)

type Choices<Values extends readonly unknown[]> = { [Index in keyof Values]: fc.Arbitrary<Values[Index]> }

function step<Name extends Verb>(verb: Name, ...choices: Choices<Parameters<CatalogVerbs[Name]>>) {
  const parameters = fc.tuple(...(choices as fc.Arbitrary<unknown>[]))
  return parameters.map((chosen) => ({ verb, parameters: chosen }) as unknown as Step)
}

/** Every verb, of these repositories. */
function stepsOf(pushed: readonly RepositoryKey[], pulled: readonly RepositoryKey[]) {
  const local = fc.constantFrom(...pushed)
  const source = fc.constantFrom(...pulled)
  const any = fc.constantFrom(...pushed, ...pulled)
  const given = fc.record({
    as: fc.constantFrom('anyone', 'account'),
    at,
    tag: fc.option(tag, { nil: undefined }),
    references,
  } as const)
  const times = fc.record({ at, refusedAfter: at })
  const put = fc.record({ references, tags: fc.uniqueArray(tag), at })
  return [
    step('pulled', source, manifest, given),
    step('checked', source, tag, digest, asker),
    step('confirmed', source, digest, asker),
    step('refused', source, at),
    step('saveReferrers', any, digest, fc.record({ referrers: fc.constant([]), checkedAt: at })),
    step('sealed', digest, file, at),
    step('verified', digest, file, at),
    step('adopt', digest, file, at),
    step('pin', pattern, at),
    step('unpin', pattern),
    step('setFact', fc.constant('cache-max-size' as const), at),
    step('wish', wish, fc.integer({ min: 1, max: 3 })),
    step('unwish', wish),
    step('used', fc.array(digest, { maxLength: 3 }), at),
    step('pushed', local, digest, file, at),
    step('mount', local, digest, fc.oneof(any, fc.constant('free' as const)), times),
    step('lease', local, digest, at, fc.nat(40)),
    step('putManifest', local, manifest, put),
    step('deleteTag', any, tag),
    step('deleteManifest', any, digest, at),
    step('deleteBlob', any, digest),
    step('letGo', any, digest, at, fc.nat(40)),
    step('evict', digest, at),
    step('mayGo', digest),
    step('removed', fc.array(digest, { maxLength: 3 })),
    step('beginUpload', fc.constantFrom(...ids), local, at, fc.constantFrom('ann', undefined)),
    step('endUpload', fc.constantFrom(...ids)),
  ]
}

/** Both catalogs, empty; each step is done in both. */
function both() {
  const database = new DatabaseSync(':memory:')
  migrate(database)
  const statements = new Statements(database)
  const totals = new StoredTotals(database)
  const tables = new CatalogTables()
  const run = ({ verb, parameters }: Step) => {
    const [inMemory, inSqlite] = [memoryVerbs, sqliteVerbs].map((verbs, which) =>
      (verbs[verb] as (store: unknown, ...rest: unknown[]) => unknown)(
        which ? statements : tables,
        ...parameters,
      ),
    )
    assert.deepEqual(inSqlite, inMemory, `${verb} answers differently`)
    return inMemory
  }
  return { database, statements, tables, totals, run }
}

const everyName = { after: '', limit: 2, part: '', at: 30 }

/** Every question with every answer, of both. */
async function assertSameAnswers({ statements, tables, totals }: ReturnType<typeof both>): Promise<void> {
  const memory = new MemoryCatalog(tables)
  const pages = [{ limit: 2 }, { after: digests[1], limit: 9 }] as { limit: number; after?: Digest }[]
  const everywhere = [...locals, ...mirrored]
  const questions: [keyof typeof misses, unknown[]][] = [
    ['pins', []],
    ['wishes', []],
    ['fact', ['cache-max-size']],
    ...everywhere.map((after) => ['namers', [digests[0], { after, limit: 2 }]] as never),
    ...[undefined, 'local', 'quay.io'].map((origin) => ['repositories', [{ origin, limit: 3 }]] as never),
    ...['local', 'quay.io'].flatMap((origin) =>
      [0, 20].map((refusedAfter) => ['listed', [{ ...everyName, origin, refusedAfter }]] as never),
    ),
    ...everywhere.map((after) => ['repositories', [{ after, limit: 9 }]] as never),
    ...[7, 60].flatMap((time) =>
      (['unverified', 'staleUploads'] as const).map((name) => [name, [time, 4]] as never),
    ),
    ...[7, 60].flatMap((time) => [
      ['idle', [time, { limit: 4 }]] as never,
      ...tables.idleBefore(time).map((after) => ['idle', [time, { after, limit: 4 }]] as never),
    ]),
    ...pages.flatMap((page) => [['removals', [page]] as never, ['blobs', [page]] as never]),
    ...[{}, { before: 30 }, { after: { usedAt: 20, digest: digests[1] } }].map(
      (page) => ['leastRecent', [{ ...page, limit: 4 }]] as never,
    ),
    ...ids.map((id) => ['upload', [id]] as never),
    ...digests.flatMap(
      (one) =>
        [
          ['blob', [one]],
          ['keeping', [one, 9]],
          ['holders', [one, 3]],
          ['isFree', [one, { at: 30, refusedAfter: 20 }]],
          ['isFree', [one, { at: 30, refusedAfter: 0 }]],
        ] as never[],
    ),
    ...everywhere.flatMap((repository) => [
      ['repository', [repository]] as never,
      ['tags', [repository]] as never,
      ...tags.map((one) => ['tag', [repository, one]] as never),
      ...digests.flatMap((one) => [
        ...(['held', 'named', 'manifest', 'referrers'] as const).map(
          (name) => [name, [repository, one]] as never,
        ),
        ...kinds.flatMap((kind) => pages.map((page) => ['naming', [repository, one, kind, page]] as never)),
      ]),
    ]),
  ]
  assert.deepEqual(totals.usage, await memory.usage())
  for (const [name, parameters] of questions) {
    const inSqlite = (sqliteReads[name] as (...all: unknown[]) => unknown)(statements, ...parameters)
    const inMemory = await (memory[name] as (...all: unknown[]) => Promise<unknown>)(...parameters)
    if (isDeepStrictEqual(plain(inSqlite), plain(inMemory))) continue
    assert.deepEqual(plain(inSqlite), plain(inMemory), `${name} ${JSON.stringify(parameters)}`)
  }
}

function plain(value: unknown) {
  return structuredClone(value)
}

/** What a manifest that was acknowledged needs: held by its own repository, and the bytes not to be evicted. */
const lostParts = `SELECT hex(target) FROM reference JOIN repository ON id = repository
  WHERE origin = 'local' AND kind IN ('config', 'layer') AND NOT EXISTS (
    SELECT 1 FROM holding JOIN blob USING (digest) WHERE holding.repository = id AND digest = target
      AND local_at IS NOT NULL AND kept = 1)`

test('whatever is done, in whatever order, the catalogs in SQLite and in memory answer the same', async () => {
  const everything = [...locals, ...mirrored]
  const steps = fc.array(fc.oneof(...stepsOf(everything, everything), step('gone', digest)), {
    maxLength: 60,
    size: 'max',
  })
  await fc.assert(
    fc.asyncProperty(pattern, steps, async (pinned, chosen) => {
      const catalogs = both()
      try {
        catalogs.run({ verb: 'pin', parameters: [pinned, 5] })
        for (const one of chosen) catalogs.run(one)
        await assertSameAnswers(catalogs)
      } finally {
        catalogs.database.close()
      }
    }),
    { numRuns: 300 },
  )
})

test('no row contradicts another one, no part of an acknowledged manifest is lost', () => {
  const steps = fc.array(fc.oneof(...stepsOf(locals, mirrored)), { maxLength: 60, size: 'max' })
  fc.assert(
    fc.property(steps, (chosen) => {
      const { database, run } = both()
      try {
        const checks = Object.entries({ ...wrongRows, 'a lost part': lostParts }).map(
          ([what, sql]) => [what, database.prepare(sql)] as const,
        )
        for (const one of chosen) {
          run(one)
          for (const [what, check] of checks) assert.deepEqual(check.all(), [], `${what}, after ${one.verb}`)
        }
      } finally {
        database.close()
      }
    }),
    { numRuns: 300 },
  )
})

test('what a client was told is here stays for three quarters of the grace', () => {
  const graceMs = 40
  const others = fc.oneof(...stepsOf(locals, mirrored).filter((_, index) => index < 12))
  const times = fc.record({ told: fc.integer({ min: 60, max: 200 }), later: fc.integer({ min: 0, max: 30 }) })
  fc.assert(
    fc.property(
      fc.array(others, { maxLength: 30, size: 'max' }),
      times,
      digest,
      (chosen, { told, later }, one) => {
        const { database, run } = both()
        try {
          for (const before of chosen) run(before)
          const isHere = run({ verb: 'lease', parameters: [app, one, told, graceMs] })
          run({ verb: 'letGo', parameters: [app, one, told + later, graceMs] })
          run({ verb: 'evict', parameters: [one, told + later] })
          const lacking = (['layer', 'manifest'] as const).map((kind) => {
            const put = { references: [{ target: one, kind }], tags: [], at: told + later }
            return run({ verb: 'putManifest', parameters: [app, manifestOf('{"new":1}'), put] })
          })
          const missing = lacking.find((of) => (of as unknown[]).length === 0) ?? [one]
          assert.deepEqual(missing, isHere ? [] : [one], 'as a blob, or as a manifest')
        } finally {
          database.close()
        }
      },
    ),
    { numRuns: 300 },
  )
})
