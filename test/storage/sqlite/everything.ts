import assert from 'node:assert/strict'
import type { Tag } from '../../../src/oci/reference.ts'
import { localOrigin } from '../../../src/storage/repository-key.ts'
import type { SqliteCatalog } from '../../../src/storage/sqlite/sqlite-catalog.ts'
import { anyone, blobOf, fileOf, layerOf, manifestOf, one, repositoryOf } from '../catalog-fixtures.ts'

/** Of each kind of thing. */
export const count = 60
export const numbers = Array.from({ length: count }, (_, n) => n)
export const localAt = (n: number) => repositoryOf('local', `app-${n}`)
export const mirroredAt = (n: number) => repositoryOf('docker.io', `team/app-${n}`)
export const manifestAt = (n: number) => {
  const layers = [{ digest: blobOf(`layer ${n}`), size: 9 }]
  return manifestOf(JSON.stringify({ layers, fill: 'x'.repeat(600) }))
}
export const tagAt = (n: number) => `v${n}` as Tag

/** Every verb that adds, of the n-th of everything. */
export async function record(catalog: SqliteCatalog, n: number): Promise<void> {
  const references = [layerOf(`layer ${n}`), { target: blobOf(`config ${n}`), kind: 'config' } as const]
  const put = { references: [layerOf(`layer ${n}`, 9)], tags: [tagAt(n)], at: n }
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
export async function ask(catalog: SqliteCatalog): Promise<void> {
  await catalog.usage()
  await catalog.repositories({ limit: 1000 })
  for (const origin of [localOrigin, 'docker.io']) {
    await catalog.listed({ origin, after: '', limit: 1000, part: '', at: 10_000, refusedAfter: 0 })
  }
  await catalog.idle(1e6, { limit: 1000 })
  await catalog.leastRecent({ before: 1e6, limit: 1000 })
  await catalog.blobs({ limit: 1000 })
  await catalog.namers(blobOf('layer 1'), { limit: 1000 })
  await catalog.fact('cache-max-size')
  await catalog.wishes()
  await catalog.unverified(1e6, 1000)
  await catalog.staleUploads(1e6, 1000)
  for (const n of numbers) {
    await catalog.upload(`upload ${n}`)
    await catalog.blob(blobOf(`layer ${n}`))
    await catalog.keeping(blobOf(`layer ${n}`), 9)
    await catalog.holders(blobOf(`config ${n}`), 9)
    await catalog.isFree(blobOf(`config ${n}`), { at: 10_000, refusedAfter: 0 })
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

/** Every other verb, of everything; nothing of what `wholeIn` looks for is taken away. */
export async function change(catalog: SqliteCatalog): Promise<void> {
  const times = { at: 1e5, refusedAfter: 0 }
  for (const n of numbers) {
    await catalog.pulled(mirroredAt(n), one, { ...anyone(1e5), tag: tagAt(n), references: [] })
    await catalog.checked(mirroredAt(n), tagAt(n), manifestAt(n).digest, anyone(1e5))
    await catalog.used([blobOf(`config ${n}`)], 1e5)
    await catalog.verified(blobOf(`layer ${n}`), fileOf(n), 1e5)
    await catalog.mount(localAt(n + 1), blobOf(`layer ${n}`), localAt(n), times)
    await catalog.deleteTag(mirroredAt(n), tagAt(n))
    await catalog.deleteManifest(mirroredAt(n), manifestAt(n).digest, 1e5)
    await catalog.endUpload(`upload ${n}`)
    await catalog.evict(blobOf(`config ${n}`), 1e6)
    await catalog.gone(blobOf(`config ${n}`))
    await catalog.adopt(blobOf(`found ${n}`), fileOf(n), 1e5)
    await catalog.setFact('cache-max-size', n)
    await catalog.letGo(localAt(n), blobOf(`idle ${n}`), 1e6, 1000)
    await catalog.deleteBlob(localAt(n + 1), blobOf(`layer ${n}`))
  }
}

/** What was pushed here, of which nothing may be missing: the numbers of the repositories that are whole. */
export async function wholeIn(catalog: SqliteCatalog): Promise<number[]> {
  const found: number[] = []
  for (const n of numbers) {
    const [repository, layer] = [localAt(n), blobOf(`layer ${n}`)]
    const tag = await catalog.tag(repository, tagAt(n))
    const manifest = tag && (await catalog.manifest(repository, tag.digest))
    const manifestHeld = tag && (await catalog.held(repository, tag.digest))
    const held = await catalog.held(repository, layer)
    if (!manifest) continue
    assert.deepEqual(new Uint8Array(manifest.bytes), manifestAt(n).bytes)
    assert.ok(manifestHeld?.localAt !== undefined && held?.localAt !== undefined)
    assert.equal(held.idleSince, undefined, 'it would be collected')
    assert.deepEqual(await catalog.named(repository, layer), { kind: 'layer', size: 9 })
    const blob = await catalog.blob(layer)
    assert.ok(blob?.kept ?? true, 'it would be evicted')
    found.push(n)
  }
  return found
}
