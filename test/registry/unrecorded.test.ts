/**
 * A push whose record the catalog does not take. Thought of: bytes that nobody had, or somebody has; a catalog that cannot
 * be read either; a crowd of them in the log.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StorageError } from '../../src/storage/error.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { content, digest, has, pushBlob, start } from './local-fixture.ts'

const full = async (): Promise<never> => {
  throw new StorageError('FULL', 'the disk is full')
}

/** A catalog that takes nothing of a push while `isFull`. */
function fillingCatalog() {
  const catalog = new MemoryCatalog()
  const state = { isFull: true, isUnreadable: false }
  for (const verb of ['pushed', 'beginUpload', 'endUpload'] as const) {
    const real = catalog[verb].bind(catalog) as (...parameters: unknown[]) => Promise<never>
    const run = (...parameters: unknown[]) => (state.isFull ? full() : real(...parameters))
    Object.assign(catalog, { [verb]: run })
  }
  const blob = catalog.blob.bind(catalog)
  Object.assign(catalog, { blob: (of: typeof digest) => (state.isUnreadable ? full() : blob(of)) })
  return { catalog, state }
}

test('bytes that could not be recorded are not left on the disk', async () => {
  const { catalog } = fillingCatalog()
  const parts = start(new MemoryBlobStore(), catalog)
  await assert.rejects(pushBlob(parts, content), { code: 'FULL' })
  assert.equal(await parts.store.stat(digest), undefined)
})

test('bytes that were here before, or of which nobody can tell, stay', async () => {
  const { catalog, state } = fillingCatalog()
  const parts = start(new MemoryBlobStore(), catalog)
  state.isFull = false
  await pushBlob(parts, content)
  state.isFull = true
  for (const isUnreadable of [false, true]) {
    state.isUnreadable = isUnreadable
    await assert.rejects(pushBlob(parts, content), { code: 'FULL' })
    assert.ok(await parts.store.stat(digest))
  }
  state.isUnreadable = false
  assert.equal(await has(parts), true)
})

test('bytes that were here without a record stay too: a catalog that lost it may have holders of them', async () => {
  const { catalog, state } = fillingCatalog()
  const parts = start(new MemoryBlobStore(), catalog)
  state.isFull = false
  await pushBlob(parts, content)
  await catalog.gone(digest)
  state.isFull = true
  await assert.rejects(pushBlob(parts, content), { code: 'FULL' })
  assert.ok(await parts.store.stat(digest))
})

test('that uploads are not recorded is told once in a while, not for each', async () => {
  const { catalog } = fillingCatalog()
  const parts = start(new MemoryBlobStore(), catalog)
  for (let n = 0; n < 20; n += 1) await assert.rejects(pushBlob(parts, content), { code: 'FULL' })
  const told = parts.lines.filter((line) => line.includes('could not be recorded'))
  assert.equal(told.length, 1)
})
