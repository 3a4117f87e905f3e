// What is said of a blob without its bytes: whoever pushes and hears that it is here does not send it. Neighbours that
// were thought of: each damage, behind our back or touched; large and small; never recorded; gone; nobody's, one
// repository's, several; what is whole costs no hash.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pino } from 'pino'
import { digestOf } from '../../src/oci/digest.ts'
import type { RepositoryName } from '../../src/oci/repository-name.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { localOrigin, repositoryKey } from '../../src/storage/repository-key.ts'
import { content, digest, has, pushBlob, start } from '../registry/local-fixture.ts'
import { readAll, testBytes } from '../storage/files/storage-folder.ts'
import { until } from '../support/settle.ts'
import { blobsOver, good } from './scripted-source.ts'

const damages: Record<string, (bytes: Buffer) => Buffer> = {
  truncated: (bytes) => bytes.subarray(0, bytes.length / 2),
  emptied: (bytes) => bytes.subarray(0, 0),
  grown: (bytes) => Buffer.concat([bytes, Buffer.from('more')]),
  flipped: (bytes) => bytes.fill((bytes[500] ?? 0) ^ 1, 500, 501),
}
const small = content.subarray(0, 3000)

for (const [what, damage] of Object.entries(damages)) {
  for (const bytes of [content, small]) {
    test(`${bytes.length} pushed bytes are ${what} on disk: HEAD says no, in one true line, and a push brings them back`, async () => {
      const pushed = start()
      await pushBlob(pushed, bytes)
      const now = digestOf(bytes)
      pushed.store.damage(now, damage, { touches: true })
      // Another start: nothing is in memory.
      const parts = start(pushed.store, pushed.catalog)
      assert.equal(await has(parts, now), false)
      assert.equal(await has(parts, now), false)
      const loud = parts.lines.filter((line) => line.includes('"level":50'))
      assert.equal(loud.length, 1, loud.join(''))
      assert.match(loud[0] ?? '', /the bytes of a blob that was pushed are lost: push it again/)
      assert.match(loud[0] ?? '', /"repositories":\["app"\]/)
      assert.doesNotMatch(parts.lines.join(''), /fetched again/)
      await pushBlob(parts, bytes)
      assert.equal(await has(parts, now), true)
    })
  }
}

test('a blob of an upstream is damaged: it will be fetched again, and its size is not told', async (t) => {
  const lines: string[] = []
  const logger = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) })
  const store = new MemoryBlobStore()
  const records = new MemoryCatalog()
  const bytes = testBytes(300_000, 5)
  const blobs = blobsOver(t, store, { records, logger })
  const { reader } = await blobs.open(digestOf(bytes), good('x/x', bytes))
  await readAll(reader)
  await reader[Symbol.asyncDispose]()
  await until(() => blobs.fillCount === 0)
  store.damage(digestOf(bytes), damages.truncated ?? ((all) => all), { touches: true })
  assert.equal(await blobs.stat(digestOf(bytes)), undefined)
  assert.match(lines.join(''), /it will be fetched again/)
})

test('the line names every repository that holds the blob', async () => {
  const parts = start()
  await pushBlob(parts, content)
  for (const other of ['b', 'c']) {
    const to = repositoryKey(localOrigin, other as RepositoryName)
    await parts.catalog.mount(to, digest, parts.repository.key, { at: Date.now(), refusedAfter: 0 })
  }
  await parts.store.delete(digest)
  assert.equal(await has(parts), false)
  assert.match(parts.lines.join(''), /"repositories":\["app","b","c"\]/)
})

test('what was touched and is right is hashed once, and then promised', async () => {
  const parts = start()
  await pushBlob(parts, content)
  parts.store.damage(digest, (bytes) => bytes, { touches: true })
  assert.equal(await has(parts), true)
  assert.equal((await parts.catalog.blob(digest))?.mtime, (await parts.store.stat(digest))?.mtime)
})
