// A rebuild may lose rights, and makes none. Thought of: garbage, zeros and the content of another page in any page,
// several at once; a layer that a pushed manifest names and its repository never had; a repository that was refused; what
// was deleted.
import assert from 'node:assert/strict'
import { copyFile, mkdtemp, open, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { rebuild } from '../../../src/storage/sqlite/rebuild.ts'
import { SqliteCatalog } from '../../../src/storage/sqlite/sqlite-catalog.ts'
import { anyone, blobOf, fileOf, layerOf, manifestOf, repositoryOf } from '../catalog-fixtures.ts'
import { localAt, manifestAt, mirroredAt, numbers, record, tagAt } from './everything.ts'
import { OldCatalog } from './old-catalog.ts'

const pageSize = 4096
const secret = repositoryOf('docker.io', 'acme/secret')
const sly = repositoryOf('local', 'sly')
/** Names a layer that its repository has not got: one of a vendor need not be pushed. */
const foreign = manifestOf(
  JSON.stringify({
    config: { digest: blobOf('config'), size: 2 },
    layers: [{ mediaType: 'a/b', digest: blobOf('secret'), size: 9, urls: ['https://vendor.test/'] }],
  }),
)

const folder = await mkdtemp(join(tmpdir(), 'larder-storage-'))
after(() => rm(folder, { recursive: true }))
const whole = join(folder, 'catalog.db')
{
  await using catalog = await SqliteCatalog.open(whole)
  await Promise.all(numbers.map((n) => record(catalog, n)))
  // What was there before is gone from the repositories with these numbers.
  for (const n of [3, 4, 5]) await catalog.deleteManifest(localAt(n), manifestAt(n).digest, n)
  for (const n of [3, 4]) await catalog.deleteBlob(localAt(n), blobOf(`layer ${n}`))
  await catalog.confirmed(secret, blobOf('secret'), anyone(1))
  await catalog.refused(secret, 2)
  await catalog.sealed(blobOf('secret'), fileOf(1), 1)
  await catalog.pushed(sly, blobOf('config'), fileOf(2), 1)
  const put = { references: [{ target: blobOf('config'), kind: 'config' } as const], tags: [tagAt(0)], at: 1 }
  assert.deepEqual(await catalog.putManifest(sly, foreign, put), [])
}
const pages = new Map<number, string>()
{
  using database = new DatabaseSync(whole)
  for (const { name, pageno } of database.prepare('SELECT name, pageno FROM dbstat').all()) {
    pages.set(Number(pageno), String(name))
  }
}
const rightsBefore = rightsIn(whole)

interface Right {
  readonly key: string
  readonly public_at: number | null
  readonly account_at: number | null
  readonly local_at: number | null
  readonly pinned_at: number | null
  readonly refused_since: number | null
}

/** By repository and digest. */
function rightsIn(path: string): ReadonlyMap<string, Right> {
  using database = new DatabaseSync(path)
  const rows = database
    .prepare(
      `SELECT concat_ws(' ', origin, name, hex(digest)) AS key, public_at, account_at, local_at, pinned_at, refused_since
        FROM holding JOIN repository ON id = repository`,
    )
    .all() as unknown as Right[]
  return new Map(rows.map((row) => [row.key, row]))
}

function assertNoneMade(path: string, before = rightsBefore): void {
  for (const [key, right] of rightsIn(path)) {
    const former = before.get(key) ?? assert.fail(`${key} was not held`)
    for (const column of ['public_at', 'account_at', 'local_at', 'pinned_at'] as const) {
      if (right[column] !== null) assert.notEqual(former[column], null, `${column} of ${key} is made up`)
    }
    if (former.refused_since !== null) {
      assert.ok(right.refused_since !== null && right.refused_since <= former.refused_since, `${key} is free`)
    }
  }
}

async function damagedCopy(name: string, write: (path: string) => Promise<void>): Promise<string> {
  const path = join(folder, `${name}.db`)
  for (const ending of ['', '-wal', '-shm']) await rm(path + ending, { force: true })
  await copyFile(whole, path)
  await write(path)
  return path
}

async function overwrite(path: string, page: number, bytes: Uint8Array): Promise<void> {
  await using file = await open(path, 'r+')
  await file.write(bytes, 0, bytes.length, (page - 1) * pageSize)
}

test('a layer that a pushed manifest names and nobody gave it is not given by a rebuild', async () => {
  const [moves] = [...pages].find(([, name]) => name === 'tag_move') ?? assert.fail('has no page')
  const path = await damagedCopy('foreign', (path) => overwrite(path, moves, Buffer.alloc(pageSize, 255)))
  {
    await using catalog = await SqliteCatalog.open(path)
    await catalog.putManifest(localAt(0), manifestAt(0), {
      references: [layerOf('layer 0', 9)],
      tags: [tagAt(1)],
      at: 9,
    })
    assert.equal(await catalog.held(sly, blobOf('secret')), undefined)
    assert.equal(await catalog.named(sly, blobOf('secret')), undefined)
    assert.notEqual((await catalog.held(sly, blobOf('config')))?.localAt, undefined)
    assert.ok(await catalog.manifest(sly, foreign.digest))
    assert.equal(await catalog.isFree(blobOf('secret'), { at: 10_000, refusedAfter: 2 }), false)
  }
  assertNoneMade(path)
})

test('a page of holdings is lost: a layer is kept where it is recorded that it was held, and nowhere else', async () => {
  for (const [page, name] of pages) {
    if (name !== 'holding') continue
    const path = await damagedCopy(`holding-${page}`, (path) => overwrite(path, page, Buffer.alloc(pageSize)))
    await rebuild(path)
    await using catalog = await SqliteCatalog.open(path)
    for (const n of numbers) {
      const isThere = (await catalog.manifest(localAt(n), manifestAt(n).digest)) !== undefined
      const isHeld = (await catalog.held(localAt(n), manifestAt(n).digest))?.mediaType !== undefined
      if (!isThere || !isHeld) continue
      assert.notEqual((await catalog.held(localAt(n), blobOf(`layer ${n}`)))?.localAt, undefined)
    }
    assertNoneMade(path)
  }
})

test('a page of any index lies where one of the holdings was: none of its rows is taken for a holding', async () => {
  const bytes = await readFile(whole)
  const [lost] = [...pages].find(([, name]) => name === 'holding') ?? assert.fail('has no page')
  // The last page of each: the others lead to it, or are like it.
  for (const [name, page] of new Map([...pages].map(([page, name]) => [name, page]))) {
    if (name === 'holding') continue
    const content = bytes.subarray((page - 1) * pageSize, page * pageSize)
    const path = await damagedCopy(`index-${page}`, (path) => overwrite(path, lost, content))
    await rebuild(path)
    assertNoneMade(path)
  }
})

test('whichever pages are lost, or are those of something else, a rebuild makes no right that was not there', async () => {
  const bytes = await readFile(whole)
  const page = fc.constantFrom(...pages.keys())
  const instead = fc.oneof(
    fc.constant(Buffer.alloc(pageSize)),
    fc.uint8Array({ minLength: pageSize, maxLength: pageSize }),
    page.map((other) => bytes.subarray((other - 1) * pageSize, other * pageSize)),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(page, instead), { minLength: 1, maxLength: 6 }), async (damages) => {
      const path = await damagedCopy('any', async (path) => {
        for (const [page, bytes] of damages) await overwrite(path, page, bytes)
      })
      await rebuild(path)
      assertNoneMade(path)
    }),
    { numRuns: 25 },
  )
})

test('the schema of a catalog of the last version is lost: its tables lie elsewhere, and none is taken for another', async () => {
  const path = join(folder, 'old.db')
  {
    using old = new OldCatalog(path)
    for (const n of numbers) {
      old.saveManifest(mirroredAt(n), manifestAt(n), [blobOf(`layer ${n}`), blobOf(`config ${n}`)])
    }
  }
  {
    await using catalog = await SqliteCatalog.open(path)
    await Promise.all(numbers.map((n) => record(catalog, n)))
  }
  const before = rightsIn(path)
  await overwrite(path, 1, Buffer.alloc(pageSize))
  await rebuild(path)
  assertNoneMade(path, before)
})
