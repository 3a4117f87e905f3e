import assert from 'node:assert/strict'
import { statSync } from 'node:fs'
import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { type Digest, digestOf } from '../../../src/oci/digest.ts'
import type { Tag } from '../../../src/oci/reference.ts'
import type { ManifestRecord } from '../../../src/storage/catalog.ts'
import { SqliteCatalog } from '../../../src/storage/sqlite/sqlite-catalog.ts'
import { run } from '../../support/child-process.ts'
import { reasonToSkip } from '../../support/programs.ts'
import { signedManifest } from '../../support/signed-manifest.ts'
import { alpine, app, blobOf, latest, manifestOf, repositoryOf } from '../catalog-fixtures.ts'
import { storageFolder } from '../files/storage-folder.ts'
import { OldCatalog, oldTablesIn } from './old-catalog.ts'

const ofOci = 'application/vnd.oci.image'
const privateApp = repositoryOf('docker.io', 'team/private')
const thief = repositoryOf('ghcr.io', 'thief/app')
const [config, layer, secret, confirmed] = ['config', 'layer', 'secret', 'confirmed'].map(blobOf) as [
  Digest,
  Digest,
  Digest,
  Digest,
]

function imageOf(layers: readonly Digest[], more: object = {}): ManifestRecord {
  const descriptor = (digest: Digest, size: number) => ({ mediaType: `${ofOci}.layer.v1.tar`, digest, size })
  const body = { config: descriptor(config, 7), layers: layers.map((one) => descriptor(one, 9)), ...more }
  return manifestOf(JSON.stringify(body), `${ofOci}.manifest.v1+json`)
}

function indexOf(children: readonly Digest[]): ManifestRecord {
  const manifests = children.map((digest) => ({ mediaType: `${ofOci}.manifest.v1+json`, digest, size: 5 }))
  return manifestOf(JSON.stringify({ manifests }), `${ofOci}.index.v1+json`)
}

/** A catalog of the released version, filled by `fill`, and opened by this one. */
async function migrated(t: TestContext, fill: (old: OldCatalog) => void) {
  const path = join(await storageFolder(t), 'catalog.db')
  {
    using old = new OldCatalog(path)
    fill(old)
  }
  const damaged = t.mock.fn()
  const catalog = await SqliteCatalog.open(path, { onDamaged: damaged })
  t.after(() => catalog[Symbol.asyncDispose]())
  assert.equal(damaged.mock.callCount(), 0)
  assert.deepEqual(oldTablesIn(path), [])
  return { catalog, path }
}

test('manifests and tags of the last version are there, held for anyone, with what they name', async (t) => {
  const image = imageOf([layer], {
    subject: { mediaType: 'a/b', digest: secret, size: 3 },
    artifactType: 'x/y',
  })
  const index = indexOf([image.digest])
  const { catalog } = await migrated(t, (old) => {
    old.saveManifest(alpine, image, [config, layer])
    old.saveManifest(alpine, index, [])
    old.saveTag(alpine, latest, index.digest, 1_700_000_000_000)
    old.saveTag(alpine, 'v1', image.digest, 5)
    old.saveReferrers(alpine, image.digest, '[{"mediaType":"a/b","size":1}]', 77)
  })
  for (const manifest of [image, index]) {
    const read = await catalog.manifest(alpine, manifest.digest)
    assert.deepEqual(read && { ...read, bytes: new Uint8Array(read.bytes) }, manifest)
  }
  assert.deepEqual(await catalog.tag(alpine, latest), { digest: index.digest, checkedAt: 1_700_000_000_000 })
  assert.deepEqual(await catalog.tags(alpine), [latest, 'v1'])
  assert.equal((await catalog.held(alpine, index.digest))?.publicAt, 1_700_000_000_000)
  assert.equal((await catalog.held(alpine, image.digest))?.publicAt, 5)
  assert.deepEqual(await catalog.named(alpine, image.digest), { kind: 'manifest', size: 5 })
  assert.deepEqual(await catalog.named(alpine, config), { kind: 'config', size: 7 })
  assert.deepEqual(await catalog.named(alpine, layer), { kind: 'layer', size: 9 })
  const naming = await catalog.naming(alpine, secret, 'subject', { limit: 9 })
  assert.deepEqual(naming, [{ manifest: image.digest, artifactType: 'x/y' }])
  assert.equal((await catalog.referrers(alpine, image.digest))?.checkedAt, 77)
})

test('a signed manifest of the old kind, one by sha512, and one that cannot be read are kept', async (t) => {
  const signed = signedManifest()
  const mediaType = 'application/vnd.docker.distribution.manifest.v1+prettyjws'
  const schema1 = { digest: digestOf(signed.payload), mediaType, bytes: new Uint8Array(signed.bytes) }
  const long = { ...imageOf([layer]), digest: digestOf(imageOf([layer]).bytes, 'sha512') }
  const malformed = manifestOf('{"layers":')
  const { catalog } = await migrated(t, (old) => {
    for (const manifest of [schema1, long, malformed]) old.saveManifest(alpine, manifest, [])
    old.saveTag(alpine, latest, malformed.digest, 5)
  })
  for (const { digest, bytes } of [schema1, long, malformed]) {
    assert.deepEqual(new Uint8Array((await catalog.manifest(alpine, digest))?.bytes ?? []), bytes)
  }
  const layerOfSchema1 = `sha256:${'a'.repeat(64)}` as Digest
  assert.deepEqual(await catalog.named(alpine, layerOfSchema1), { kind: 'layer', size: undefined })
  assert.ok(await catalog.named(alpine, layer))
  assert.equal((await catalog.tag(alpine, latest))?.digest, malformed.digest)
})

test('what an upstream confirmed stays; what was only named stays unless a private repository has it', async (t) => {
  const { catalog } = await migrated(t, (old) => {
    old.saveManifest(privateApp, imageOf([secret]), [config, secret])
    old.saveBlob(privateApp, confirmed)
    old.savePublicity(privateApp, false, 3000)
    old.saveManifest(thief, imageOf([secret, layer]), [config, secret, layer])
    old.saveBlob(thief, confirmed, 5)
    old.savePublicity(thief, true, 4000)
    // Of a manifest that cannot be read nobody knows what it named.
    old.saveManifest(alpine, manifestOf('{"layers":'), [secret, layer])
  })
  assert.deepEqual(await catalog.repository(privateApp), { refusedSince: 3000 })
  assert.deepEqual(await catalog.repository(thief), { refusedSince: undefined })
  assert.ok(await catalog.held(privateApp, secret))
  assert.ok(await catalog.held(thief, confirmed))
  assert.ok(await catalog.held(thief, layer))
  assert.ok(await catalog.held(alpine, layer))
  for (const repository of [thief, alpine]) assert.equal(await catalog.held(repository, secret), undefined)
  assert.deepEqual(await catalog.named(thief, secret), { kind: 'layer', size: 9 })
  assert.equal(await catalog.isFree(secret, { at: 10_000, refusedAfter: 3000 }), false)
  assert.equal(await catalog.isFree(confirmed, { at: 10_000, refusedAfter: 3000 }), true)
})

test('a repository of which nobody wrote down when it was refused has been refused for long', async (t) => {
  const { catalog } = await migrated(t, (old) => {
    old.saveBlob(privateApp, secret)
    old.savePublicity(privateApp, false, null)
  })
  assert.deepEqual(await catalog.repository(privateApp), { refusedSince: 0 })
  assert.equal(await catalog.isFree(secret, { at: 10_000, refusedAfter: 0 }), false)
})

test('what came from an upstream called local is not taken for something that was pushed', async (t) => {
  const { catalog } = await migrated(t, (old) => {
    old.saveManifest(app, imageOf([layer]), [config, layer])
    old.saveTag(app, latest, imageOf([layer]).digest, 5)
  })
  assert.equal(await catalog.repository(app), undefined)
  assert.deepEqual(await catalog.tags(app), [])
})

test('the last 100 moves of each tag are kept in their order', async (t) => {
  const images = [imageOf([layer]), imageOf([secret])]
  const { catalog, path } = await migrated(t, (old) => {
    for (const image of images) old.saveManifest(alpine, image, [])
    for (let n = 0; n < 150; n += 1) {
      // Several in a millisecond, and the clock is set back once.
      const at = n === 149 ? 3 : 1000 + Math.floor(n / 3)
      old.saveTag(alpine, latest, (images[n % 2] ?? imageOf([])).digest, at)
    }
    old.saveTag(alpine, 'v1', imageOf([]).digest, 5)
  })
  await catalog.pulled(alpine, imageOf([]), { as: 'anyone', at: 4, tag: latest, references: [] })
  using database = new DatabaseSync(path)
  const moves = database.prepare(
    `SELECT moved_at, hex(digest) AS digest FROM tag_move WHERE name = ? ORDER BY moved_at`,
  )
  const rows = moves.all(latest)
  assert.equal(rows.length, 100)
  const expected = [...Array.from({ length: 99 }, (_, n) => images[(51 + n) % 2]), imageOf([])]
  assert.deepEqual(
    rows.map((row) => String(row.digest).slice(2).toLowerCase()),
    expected.map((image) => image?.digest.slice(7)),
  )
  assert.equal(moves.all('v1').length, 1)
})

test('an empty catalog', async (t) => {
  const { catalog } = await migrated(t, () => {})
  assert.deepEqual(await catalog.repositories({ limit: 9 }), [])
})

/** As many manifests, each of its own repository and with ten layers, half of which all have. */
function fillWith(count: number) {
  return (old: OldCatalog) => {
    const shared = Array.from({ length: 5 }, (_, n) => blobOf(`shared ${n}`))
    for (let n = 0; n < count; n += 1) {
      const repository = repositoryOf('docker.io', `team/app-${n % (count / 10)}`)
      const layers = [...shared, ...Array.from({ length: 5 }, (_, one) => blobOf(`${n} ${one}`))]
      const image = imageOf(layers)
      old.saveManifest(repository, image, [config, ...layers])
      old.saveTag(repository, `v${n}`, image.digest, n)
      if (n % 10 === 9) old.savePublicity(repository, n % 20 === 9, n)
    }
  }
}

test('ten thousand manifests take seconds', async (t) => {
  const path = join(await storageFolder(t), 'catalog.db')
  {
    using old = new OldCatalog(path)
    fillWith(10_000)(old)
  }
  const before = process.cpuUsage()
  await using catalog = await SqliteCatalog.open(path)
  // Of this process: what others take of the machine is not meant.
  const { user, system } = process.cpuUsage(before)
  const tookMs = (user + system) / 1000
  t.diagnostic(`${Math.round(tookMs)} ms`)
  assert.ok(tookMs < 20_000, `${tookMs} ms`)
  assert.deepEqual(await catalog.tag(repositoryOf('docker.io', 'team/app-7'), 'v1007' as Tag), {
    digest: imageOf([
      ...Array.from({ length: 5 }, (_, n) => blobOf(`shared ${n}`)),
      ...Array.from({ length: 5 }, (_, one) => blobOf(`1007 ${one}`)),
    ]).digest,
    checkedAt: 1007,
  })
})

test('killed in the middle, the old catalog is there, and the next start brings it over', {
  skip: reasonToSkip({ programs: ['strace'], root: true }),
}, async (t) => {
  const folder = await storageFolder(t)
  const original = join(folder, 'original.db')
  {
    using old = new OldCatalog(original)
    fillWith(3000)(old)
  }
  const path = join(folder, 'catalog.db')
  await copyFile(original, path)
  const child = new URL('./migration-child.ts', import.meta.url).pathname
  // The transaction is larger than SQLite's memory, so that it begins to lie in the journal long before it is whole.
  const kill = ['-e', 'trace=pwrite64', '-e', 'inject=pwrite64:signal=SIGKILL:when=500', '-P', `${path}-wal`]
  const killed = run('node', [child, path], { by: [['strace', '-f', '-o', '/dev/null', ...kill]] })
  await assert.rejects(
    killed,
    ({ cause }: Error) => (cause as { readonly signal?: string }).signal === 'SIGKILL',
  )
  assert.ok(statSync(`${path}-wal`).size > 500_000)
  {
    using database = new DatabaseSync(path)
    assert.deepEqual({ ...database.prepare('PRAGMA user_version').get() }, { user_version: 3 })
    assert.equal(database.prepare('SELECT count(*) AS count FROM repository_manifest').get()?.count, 3000)
  }
  const damaged = t.mock.fn()
  await using catalog = await SqliteCatalog.open(path, { onDamaged: damaged })
  assert.equal(damaged.mock.callCount(), 0)
  assert.deepEqual(oldTablesIn(path), [])
  assert.equal((await catalog.tag(repositoryOf('docker.io', 'team/app-7'), 'v307' as Tag))?.checkedAt, 307)
})
