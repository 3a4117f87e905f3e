/**
 * Local repositories over stores in memory, where each step of the disk can fail or be the last one. Thought of: an end of
 * the process at each step of a push; a power cut after the answer; a catalog that fails between the seal and its verb;
 * the promise of a HEAD; bytes that are lost; what is not there.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Digest } from '../../src/oci/digest.ts'
import { StorageError } from '../../src/storage/error.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { buildImage, buildIndex } from '../support/images.ts'
import { until } from '../support/settle.ts'
import {
  content,
  contentOf,
  day,
  digest,
  fails,
  has,
  pushBlob,
  pushImage,
  start,
  tag,
} from './local-fixture.ts'

test('an end of the process at any step of a push: what was acknowledged is there, the rest is pushed again', async () => {
  const image = buildImage({ seed: 'crash', layers: [5000] })
  let steps = 1
  for (let last = 0; last < steps; last += 1) {
    for (const kind of ['killed', 'power'] as const) {
      let step = 0
      const over = Promise.withResolvers<never>()
      over.promise.catch(() => {})
      const catalog = new MemoryCatalog()
      const store = new MemoryBlobStore({
        step: async () => {
          step += 1
          if (step <= last) return
          over.reject(new Error('the end'))
          await new Promise(() => {})
        },
      })
      const done: Digest[] = []
      const before = start(store, catalog)
      const work = (async () => {
        for (const { bytes, digest: one } of [image.config, ...image.layers]) {
          await pushBlob(before, bytes)
          done.push(one)
        }
        await before.repository.putManifest(tag, image.manifest)
        done.push(image.manifest.digest)
      })()
      await Promise.race([work, over.promise]).catch(() => {})
      steps = Math.max(steps, step + 1)
      const after = start(store.afterCrash({ kind, keeps: () => false }, {}), catalog)
      for (const one of done) {
        if (one === image.manifest.digest) {
          assert.equal((await after.repository.manifest(tag)).digest, one)
        } else assert.equal(await contentOf(after, one), one, `${kind} after step ${last}`)
      }
      await pushImage(after, image)
      for (const { digest: one } of [image.config, ...image.layers])
        assert.equal(await contentOf(after, one), one)
    }
  }
  assert.ok(steps > 8, `${steps} steps`)
})

test('the catalog fails between the seal and its verb: refused, and nobody has the blob until it is pushed again', async () => {
  const parts = start()
  const failing = start(
    parts.store,
    new Proxy(parts.catalog, {
      get(catalog, key) {
        if (key === 'pushed') return async () => Promise.reject(new StorageError('READ_ONLY', 'no'))
        const value = Reflect.get(catalog, key)
        return typeof value === 'function' ? value.bind(catalog) : value
      },
    }),
  )
  await assert.rejects(pushBlob(failing, content), StorageError)
  assert.equal(await parts.store.stat(digest), undefined, 'nothing is left of it')
  assert.equal(await has(parts), false)
  await assert.rejects(parts.repository.blob(digest), fails('NAME_UNKNOWN'))
  await pushBlob(parts, content)
  assert.equal(await contentOf(parts), digest)
})

test('a blob that somebody was told is here is not let go before the manifest', async () => {
  const parts = start()
  const { catalog, repository } = parts
  await pushBlob(parts, content)
  const idle = (await catalog.held(repository.key, digest))?.idleSince
  assert.ok(idle !== undefined)
  const later = Date.now() + day
  // As if the push were a day old.
  await catalog.pushed(
    repository.key,
    digest,
    (await parts.store.stat(digest)) ?? assert.fail(),
    Date.now() - day,
  )
  assert.equal(await has(parts), true)
  assert.equal(await catalog.letGo(repository.key, digest, Date.now(), day / 2), 'kept')
  assert.equal(await has(parts), true)
  assert.equal(await catalog.letGo(repository.key, digest, later, 0), 'unlink')
  assert.equal(await has(parts), false)
})

test('bytes that are lost: 404 and a loud line, so that the next push brings them back', async () => {
  const parts = start()
  const image = buildImage({ seed: 'lost', layers: [content] })
  await pushImage(parts, image)
  await parts.store.delete(digest)
  await assert.rejects(parts.repository.blob(digest), fails('BLOB_UNKNOWN'))
  assert.match(
    parts.lines.join(''),
    /"level":50.*the bytes of a blob that was pushed are lost: push it again/,
  )
  assert.equal(await has(parts), false)
  await pushBlob(parts, content)
  assert.equal(await contentOf(parts), digest)
})

test('a manifest whose bytes are lost is not here for whoever is about to push it, and here for whoever pulls', async () => {
  const image = buildImage({ seed: 'lost', layers: [1000, 100_000] })
  for (const lost of [image.config, ...image.layers]) {
    const parts = start()
    await pushImage(parts, image)
    const head = () => parts.repository.manifest(tag, { isHead: true })
    assert.equal((await head()).digest, image.manifest.digest)
    await parts.store.delete(lost.digest)
    parts.blobs.documents.forget(lost.digest)
    await assert.rejects(head(), fails('MANIFEST_UNKNOWN', 404))
    await assert.rejects(head(), (error: Error) => error.message.includes(`app needs, are lost`))
    await assert.rejects(parts.repository.blob(lost.digest), /pushed to app, are lost: push the image again/)
    assert.equal((await parts.repository.manifest(tag)).digest, image.manifest.digest)
    await pushBlob(parts, lost.bytes)
    assert.equal((await head()).digest, image.manifest.digest)
  }
})

test('an index of which something is lost is not here for whoever is about to push it', async () => {
  const images = [buildImage({ seed: 'one' }), buildImage({ seed: 'other' })]
  const index = buildIndex(images)
  const parts = start()
  for (const image of images) await pushImage(parts, image)
  await parts.repository.putManifest(tag, index.manifest)
  const head = () => parts.repository.manifest(tag, { isHead: true })
  assert.equal((await head()).digest, index.manifest.digest)
  const [layer] = images[1]?.layers ?? []
  assert.ok(layer)
  await parts.store.delete(layer.digest)
  parts.blobs.documents.forget(layer.digest)
  await assert.rejects(head(), fails('MANIFEST_UNKNOWN', 404))
})

test('who pushes a manifest too early is told some of what is missing, and how much else', async () => {
  const { layers, manifest } = buildImage({ layers: [1, 2, 3, 4] })
  const parts = start()
  const missing = (count: number) => (error: Error) => {
    assert.match(error.message, /^app lacks what the manifest names: push /)
    assert.equal(error.message.match(/sha256:/g)?.length, 3)
    assert.equal(/ and (\d+) more first$/.exec(error.message)?.[1], count > 3 ? String(count - 3) : undefined)
    return true
  }
  await assert.rejects(parts.repository.putManifest(tag, manifest), missing(5))
  for (const { bytes } of layers.slice(0, 2)) await pushBlob(parts, bytes)
  await assert.rejects(parts.repository.putManifest(tag, manifest), missing(3))
})

test('a page of no tags begins where it was asked for', async () => {
  const parts = start()
  await pushImage(parts, buildImage())
  const page = (last: string | undefined) => parts.repository.tags({ n: 0, last, text: '', isForeign: false })
  assert.deepEqual(await page(undefined), { tags: [], next: 'n=0&last=', status: 'hit' })
  assert.deepEqual(await page('a'), { tags: [], next: 'n=0&last=a', status: 'hit' })
})

test('what is asked of it and is not there', async () => {
  const parts = start()
  const { repository } = parts
  for (const reference of [tag, digest]) {
    await assert.rejects(repository.manifest(reference), fails('NAME_UNKNOWN', 404), 'nothing was pushed yet')
  }
  await assert.rejects(
    repository.tags({ n: undefined, last: undefined, text: '', isForeign: false }),
    fails('NAME_UNKNOWN', 404),
  )
  await assert.rejects(repository.upload('upload-1'), fails('BLOB_UPLOAD_UNKNOWN'))
  await assert.rejects(repository.upload('../../etc/passwd'), fails('BLOB_UPLOAD_UNKNOWN'))
  await pushBlob(parts, content)
  for (const reference of [tag, digest]) {
    await assert.rejects(
      repository.manifest(reference),
      fails('MANIFEST_UNKNOWN', 404),
      'a blob is no manifest',
    )
  }
  assert.deepEqual((await repository.referrers(digest, { artifactTypes: [], from: undefined })).referrers, [])
  assert.deepEqual(parts.lines, [])
})

test('what was found whole is not looked at with each HEAD, and again after a while', async () => {
  const image = buildImage({ seed: 'whole', layers: [1000, 2000] })
  for (const wholeMs of [60_000, 20]) {
    const parts = start(undefined, undefined, { wholeMs })
    await pushImage(parts, image)
    let looks = 0
    const { stat } = parts.store
    parts.store.stat = (digest) => {
      looks += 1
      return stat.call(parts.store, digest)
    }
    const head = () => parts.repository.manifest(tag, { isHead: true })
    for (let round = 0; round < 20; round += 1) assert.equal((await head()).digest, image.manifest.digest)
    if (wholeMs > 1000) {
      assert.equal(looks, 3)
      for (const ask of ['blob', 'blobStat'] as const) {
        await head()
        await parts.store.delete(image.config.digest)
        parts.blobs.documents.forget(image.config.digest)
        // Whoever pulls has found it out: whoever pushes it again sends it.
        await assert.rejects(parts.repository[ask](image.config.digest), fails('BLOB_UNKNOWN', 404))
        await assert.rejects(head(), fails('MANIFEST_UNKNOWN', 404))
        await pushBlob(parts, image.config.bytes)
      }
      continue
    }
    await parts.store.delete(image.config.digest)
    parts.blobs.documents.forget(image.config.digest)
    await until(() => head().then(() => false, fails('MANIFEST_UNKNOWN', 404)))
    await assert.rejects(head(), fails('MANIFEST_UNKNOWN', 404))
    // What is not whole is looked at each time.
    await pushBlob(parts, image.config.bytes)
    assert.equal((await head()).digest, image.manifest.digest)
  }
})
