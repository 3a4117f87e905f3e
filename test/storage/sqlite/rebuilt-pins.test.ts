import assert from 'node:assert/strict'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { rebuild } from '../../../src/storage/sqlite/rebuild.ts'
import { SqliteCatalog } from '../../../src/storage/sqlite/sqlite-catalog.ts'
import { alpine, anyone, blobOf, fileOf, latest, layerOf, one } from '../catalog-fixtures.ts'
import { storageFolder } from '../files/storage-folder.ts'

test('after a rebuild what is pinned follows from the pins and the tags that were found, and facts are known', async (t) => {
  const path = join(await storageFolder(t), 'catalog.db')
  const pattern = { origin: 'docker.io', repository: '**', tag: '*' }
  const [wanted, left] = [blobOf('wanted'), blobOf('left')]
  {
    await using catalog = await SqliteCatalog.open(path)
    for (const digest of [wanted, left]) await catalog.sealed(digest, fileOf(1), 10)
    await catalog.pulled(alpine, one, { ...anyone(5), tag: latest, references: [layerOf('wanted')] })
    await catalog.pin(pattern, 500)
    await catalog.setFact('cache-max-size', 7)
  }
  {
    using database = new DatabaseSync(path)
    database.exec(`UPDATE holding SET pinned_at = NULL WHERE hex(digest) LIKE '01${wanted.slice(7)}';
      INSERT INTO holding (repository, digest, pinned_at) VALUES (1, unhex('01${left.slice(7)}'), 500)`)
  }
  await rebuild(path)
  await using catalog = await SqliteCatalog.open(path)
  assert.deepEqual(await catalog.pins(), [{ pattern, pinnedAt: 500 }])
  assert.equal((await catalog.keeping(wanted, 9))[0]?.pinnedAt, 500)
  assert.deepEqual(await catalog.keeping(left, 9), [])
  assert.deepEqual([(await catalog.blob(wanted))?.kept, (await catalog.blob(left))?.kept], [true, false])
  assert.equal(await catalog.fact('cache-max-size'), 7)
})
