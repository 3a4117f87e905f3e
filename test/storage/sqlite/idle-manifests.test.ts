// Marks that say more than is so: the conditions are asked again where a manifest goes, and a rebuild has no marks.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, test } from 'node:test'
import { rebuild } from '../../../src/storage/sqlite/rebuild.ts'
import { SqliteCatalog } from '../../../src/storage/sqlite/sqlite-catalog.ts'
import { app, latest, manifestOf } from '../catalog-fixtures.ts'

const folder = await mkdtemp(join(tmpdir(), 'larder-storage-'))
after(() => rm(folder, { recursive: true }))
const image = manifestOf('{"image":1}')
/** The image, an index that lists it, a signature of it, and one that stands alone. */
const all = [image, ...['{"index":1}', '{"signature":1}', '{"alone":1}'].map((text) => manifestOf(text))]

/** A catalog whose manifests are all marked as idle, which only the last one could be. */
async function marked(name: string): Promise<string> {
  const path = join(folder, name)
  {
    await using catalog = await SqliteCatalog.open(path)
    for (const [n, one] of all.entries()) {
      const kind = n === 1 ? ('manifest' as const) : ('subject' as const)
      const references = n === 1 || n === 2 ? [{ target: image.digest, kind }] : []
      const tags = n === 1 ? [latest] : []
      assert.deepEqual(await catalog.putManifest(app, one, { references, tags, at: 1 }), [])
    }
  }
  using database = new DatabaseSync(path)
  database.exec('UPDATE holding SET idle_since = 5')
  return path
}

test('a manifest that is marked as idle, and carried all the same, is not let go', async () => {
  await using catalog = await SqliteCatalog.open(await marked('marked.db'))
  const outcomes = []
  for (const { digest } of all) outcomes.push(await catalog.letGo(app, digest, 9000, 1000))
  assert.deepEqual(outcomes, ['kept', 'kept', 'kept', 'deleted'])
  for (const { digest } of all.slice(0, 3)) assert.ok(await catalog.manifest(app, digest))
})

test('in a catalog that was rebuilt no manifest is idle: rather too much stays', async () => {
  const path = await marked('rebuilt.db')
  await rebuild(path)
  await using catalog = await SqliteCatalog.open(path)
  assert.deepEqual(await catalog.idle(9000, { limit: 9 }), [])
  for (const { digest } of all) assert.ok(await catalog.manifest(app, digest))
})
