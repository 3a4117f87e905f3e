import assert from 'node:assert/strict'
import { copyFile, mkdtemp, open as openFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, type TestContext, test } from 'node:test'
import type { Tag } from '../../../src/oci/reference.ts'
import { SqliteCatalog } from '../../../src/storage/sqlite/sqlite-catalog.ts'
import {
  anyone,
  blobOf,
  fileOf,
  latest,
  layerOf,
  manifestOf,
  one,
  repositoryOf,
} from '../catalog-fixtures.ts'

const count = 150
const numbers = Array.from({ length: count }, (_, n) => n)
const pageSize = 4096

const localAt = (n: number) => repositoryOf('local', `app-${n}`)
const mirroredAt = (n: number) => repositoryOf('docker.io', `team/app-${n}`)
const manifestAt = (n: number) => manifestOf(`{"n":${n},"fill":"${'x'.repeat(600)}"}`)
const tagAt = (n: number) => `v${n}` as Tag

/** Every verb that adds, of the n-th of everything. */
async function record(catalog: SqliteCatalog, n: number): Promise<void> {
  const references = [layerOf(`layer ${n}`), { target: blobOf(`config ${n}`), kind: 'config' } as const]
  const put = { references: [layerOf(`layer ${n}`)], tags: [tagAt(n)], at: n }
  const referrer = { mediaType: 'a/b', digest: blobOf('x'), size: 1, annotations: { fill: 'x'.repeat(600) } }
  await catalog.pulled(mirroredAt(n), manifestAt(n), { ...anyone(n), tag: tagAt(n), references })
  await catalog.confirmed(mirroredAt(n), blobOf(`config ${n}`), anyone(n))
  await catalog.refused(mirroredAt(n), n)
  await catalog.saveReferrers(mirroredAt(n), blobOf(`${n}`), { referrers: [referrer], checkedAt: n })
  await catalog.sealed(blobOf(`config ${n}`), fileOf(n), n)
  await catalog.pushed(localAt(n), blobOf(`layer ${n}`), fileOf(n), n)
  await catalog.pushed(localAt(n), blobOf(`idle ${n}`), fileOf(n), n)
  assert.deepEqual(await catalog.putManifest(localAt(n), manifestAt(n), put), [])
  await catalog.beginUpload(`upload ${n}`, localAt(n), n)
}

/** Every question, of everything. */
async function ask(catalog: SqliteCatalog): Promise<void> {
  await catalog.usage()
  await catalog.repositories({ limit: 1000 })
  await catalog.idle(1e6, 1000)
  await catalog.leastRecent(1e6, 1000)
  await catalog.unverified(1e6, 1000)
  await catalog.staleUploads(1e6, 1000)
  for (const n of numbers) {
    await catalog.upload(`upload ${n}`)
    await catalog.blob(blobOf(`layer ${n}`))
    await catalog.isFree(blobOf(`config ${n}`), 0)
    await catalog.lease(localAt(n), blobOf(`idle ${n}`), 1e5, 1000)
    for (const repository of [localAt(n), mirroredAt(n)]) {
      await catalog.repository(repository)
      await catalog.tag(repository, tagAt(n))
      await catalog.tags(repository)
      await catalog.manifest(repository, manifestAt(n).digest)
      await catalog.held(repository, manifestAt(n).digest)
      await catalog.named(repository, blobOf(`layer ${n}`))
      await catalog.naming(repository, blobOf(`layer ${n}`), 'layer', { limit: 9 })
      await catalog.referrers(repository, blobOf(`${n}`))
    }
  }
}

/** Every other verb, of everything. */
async function change(catalog: SqliteCatalog): Promise<void> {
  const times = { at: 1e5, refusedAfter: 0 }
  for (const n of numbers) {
    await catalog.pulled(mirroredAt(n), one, { ...anyone(1e5), tag: tagAt(n), references: [] })
    await catalog.checked(mirroredAt(n), tagAt(n), manifestAt(n).digest, anyone(1e5))
    await catalog.used([blobOf(`config ${n}`)], 1e5)
    await catalog.verified(blobOf(`layer ${n}`), fileOf(n), 1e5)
    await catalog.mount(localAt(n + 1), blobOf(`layer ${n}`), localAt(n), times)
    await catalog.touchUpload(`upload ${n}`, 1e5)
    await catalog.deleteTag(mirroredAt(n), tagAt(n))
    await catalog.deleteManifest(localAt(n), manifestAt(n).digest, 1e5)
    await catalog.deleteBlob(localAt(n), blobOf(`layer ${n}`))
    await catalog.endUpload(`upload ${n}`)
    await catalog.letGo(localAt(n), blobOf(`idle ${n}`), 1e6)
    await catalog.evict(blobOf(`config ${n}`), 1e6)
    await catalog.gone(blobOf(`config ${n}`))
  }
}

/** A catalog with some pages of everything, made once; and its pages by the table or index that they are of. */
const folder = await mkdtemp(join(tmpdir(), 'larder-storage-'))
after(() => rm(folder, { recursive: true }))
const whole = join(folder, 'catalog.db')
const pages = new Map<string, number[]>()
{
  await using catalog = await SqliteCatalog.open(whole)
  await Promise.all(numbers.map((n) => record(catalog, n)))
}
{
  using database = new DatabaseSync(whole)
  for (const { name, pageno } of database.prepare('SELECT name, pageno FROM dbstat').all()) {
    pages.set(String(name), [...(pages.get(String(name)) ?? []), Number(pageno)])
  }
}

/** A copy of it, open. */
async function opened(t: TestContext) {
  const path = join(folder, `${t.name.replaceAll(/\W+/g, '-')}.db`)
  await copyFile(whole, path)
  const damaged = t.mock.fn()
  const catalog = await SqliteCatalog.open(path, damaged)
  t.after(() => catalog[Symbol.asyncDispose]())
  return { path, catalog, damaged }
}

/** Writes these bytes over pages of a file, the first one being 1. */
async function overwrite(path: string, pages: readonly number[], bytes: Uint8Array): Promise<void> {
  await using file = await openFile(path, 'r+')
  for (const page of pages) await file.write(bytes, 0, bytes.length, (page - 1) * pageSize)
}

/** Everything works as in one that was never damaged. */
async function assertWorks(catalog: SqliteCatalog): Promise<void> {
  const repository = repositoryOf('docker.io', 'library/new')
  await catalog.pulled(repository, one, { ...anyone(1), tag: latest, references: [] })
  assert.equal((await catalog.tag(repository, latest))?.digest, one.digest)
  assert.ok(await catalog.manifest(repository, one.digest))
  await record(catalog, 0)
  assert.deepEqual(await catalog.tags(localAt(0)), [tagAt(0)])
}

const everywhere = [
  'repository',
  'sqlite_autoindex_repository_1',
  'manifest',
  'sqlite_autoindex_manifest_1',
  'holding',
  'holding_public',
  'holding_kept',
  'holding_manifest',
  'holding_idle',
  'reference',
  'reference_of',
  'tag',
  'tag_of',
  'tag_move',
  'referrers',
  'sqlite_autoindex_referrers_1',
  'blob',
  'blob_lru',
  'blob_scrub',
  'upload',
  'upload_in',
  'upload_stale',
]
const garbage = Buffer.alloc(pageSize, 'garbage')
const nothing = Buffer.alloc(pageSize)

for (const [n, name] of everywhere.entries()) {
  const [what, bytes] = n % 2 ? (['garbage', garbage] as const) : (['zeros', nothing] as const)
  test(`${what} in ${name} while running: no question fails, set aside once`, async (t) => {
    const { path, catalog, damaged } = await opened(t)
    await overwrite(path, pages.get(name) ?? assert.fail('has no page'), bytes)
    await ask(catalog)
    await change(catalog)
    assert.equal(damaged.mock.callCount(), 1)
    await assertWorks(catalog)
    assert.equal(damaged.mock.callCount(), 1)
  })
}

for (const name of everywhere) {
  test(`garbage in ${name}, met while writing first: no verb fails, set aside once`, async (t) => {
    const { path, catalog, damaged } = await opened(t)
    await overwrite(path, pages.get(name) ?? assert.fail('has no page'), garbage)
    await change(catalog)
    await ask(catalog)
    assert.equal(damaged.mock.callCount(), 1)
    await assertWorks(catalog)
  })
}

test('all of it is garbage while running: the catalog is set aside once, and all that was asked at once is answered', async (t) => {
  const { path, catalog, damaged } = await opened(t)
  await overwrite(path, [...pages.values()].flat(), garbage)
  const more = numbers.map((n) => n + count)
  await Promise.all([ask(catalog), change(catalog), ...more.map((n) => record(catalog, n))])
  assert.equal(damaged.mock.callCount(), 1)
  for (const n of more) assert.equal((await catalog.tag(localAt(n), tagAt(n)))?.digest, manifestAt(n).digest)
})

test('a damaged page that was met by nobody before the end is met after the next start', async (t) => {
  const { path, catalog } = await opened(t)
  await overwrite(path, pages.get('tag') ?? [], garbage)
  await catalog[Symbol.asyncDispose]()
  const damaged = t.mock.fn()
  await using again = await SqliteCatalog.open(path, damaged)
  await ask(again)
  assert.equal(damaged.mock.callCount(), 1)
  await assertWorks(again)
})
