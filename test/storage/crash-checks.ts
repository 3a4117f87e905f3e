import assert from 'node:assert/strict'
import { readFile, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { digestHex, digestOf } from '../../src/oci/digest.ts'
import { FileBlobStore, type FileBlobStoreOptions } from '../../src/storage/files/file-blob-store.ts'
import type { Partial } from '../../src/storage/partial.ts'
import type { ByteInterval } from '../../src/storage/ranges.ts'
import { SqliteCatalog } from '../../src/storage/sqlite/sqlite-catalog.ts'
import { lent } from '../support/lent.ts'
import { storedBytes } from './blob-store.contract.ts'
import {
  crashBlobId,
  crashBytes,
  crashContent,
  crashPartial,
  crashPushed,
  crashRepository,
  crashTag,
} from './crash-child.ts'
import { assertSameBytes, filesBelow } from './files/storage-folder.ts'

/** Checks that all that a reopened partial calls present is as it was written, then fills it and seals it. */
export async function assertVouchedOnly(partial: Partial, content: Buffer): Promise<void> {
  {
    await using view = partial.view()
    for (const { start, end } of partial.present) {
      const buffer = Buffer.alloc(end - start)
      for (let at = start; at < end; ) {
        at += await view.read(buffer.subarray(at - start), at)
      }
      assertSameBytes(buffer, content.subarray(start, end), `present bytes from ${start}`)
    }
  }
  await writeMissing(partial, content)
  await partial.seal(digestOf(content))
}

/** Writes what a partial has not got. */
export async function writeMissing(partial: Partial, content: Buffer): Promise<void> {
  for (const { start, end } of partial.present.gaps(0, content.length))
    await partial.write(start, lent(content.subarray(start, end)))
}

/** Checks the child's fill, of which these ranges had been written; returns how many bytes of them are lost. */
export async function checkFill(
  folder: string,
  written: readonly ByteInterval[],
  options: FileBlobStoreOptions = {},
): Promise<number> {
  await using store = await FileBlobStore.open(folder, undefined, options)
  await using partial = await store.partials.open(crashPartial)
  let lost = 0
  for (const { start, end } of written) {
    for (const gap of partial.present.gaps(start, end)) lost += gap.end - gap.start
  }
  await assertVouchedOnly(partial, crashContent)
  const stored = await storedBytes(store, digestOf(crashContent))
  assertSameBytes(stored ?? Buffer.alloc(0), crashContent)
  return lost
}

/** Checks that each blob whose seal had resolved is there, nothing wrong is, and the next one can be sealed. */
export async function checkSealed(folder: string, sealed: readonly number[]): Promise<void> {
  await using store = await FileBlobStore.open(folder)
  for (const n of sealed) {
    const bytes = crashBytes(n)
    const stored = await storedBytes(store, digestOf(bytes))
    assertSameBytes(stored ?? Buffer.alloc(0), bytes, `blob ${n}`)
  }
  for (const path of await filesBelow(join(folder, 'blobs'))) {
    assert.equal(digestHex(digestOf(await readFile(join(folder, 'blobs', path)))), basename(path))
  }
  const next = crashBytes(sealed.length)
  const id = crashBlobId(sealed.length)
  await using partial = await store.partials.open({ id, algorithm: 'sha256' })
  await assertVouchedOnly(partial, next)
}

/** Removes the catalog, and checks that all that was pushed and acknowledged is there, and nothing that was deleted. */
export async function checkPushed(folder: string, pushed: readonly number[]): Promise<void> {
  const path = join(folder, 'catalog.db')
  for (const ending of ['', '-wal', '-shm', '.open']) await rm(path + ending, { force: true })
  const journal = join(folder, 'pushed.journal')
  await using catalog = await SqliteCatalog.open(path, {}, { pushed: { path: journal } })
  for (const n of pushed) {
    const manifest = await catalog.manifest(crashPushed, digestOf(crashBytes(n)))
    assertSameBytes(manifest?.bytes ?? Buffer.alloc(0), crashBytes(n), `manifest ${n}`)
    const isDeleted = n % 3 === 1 && pushed.includes(n + 1)
    const tag = await catalog.tag(crashPushed, crashTag(n))
    // Of the last one the delete may have been on its way.
    if (n !== pushed.at(-1)) assert.equal(tag === undefined, isDeleted, crashTag(n))
  }
}

/** Checks that each tag whose write had resolved is there with its manifest and blob, and that writing goes on. */
export async function checkTagged(folder: string, tagged: readonly number[]): Promise<void> {
  await using catalog = await SqliteCatalog.open(join(folder, 'catalog.db'))
  for (const n of tagged) {
    const digest = digestOf(crashBytes(n))
    assert.deepEqual(await catalog.tag(crashRepository, crashTag(n)), { digest, checkedAt: n })
    const manifest = await catalog.manifest(crashRepository, digest)
    assertSameBytes(manifest?.bytes ?? Buffer.alloc(0), crashBytes(n), `manifest ${n}`)
    const named = await catalog.named(crashRepository, digestOf(Buffer.from(`${n}`)))
    assert.deepEqual(named, { kind: 'layer', size: n })
  }
  // Every other tag that is there points at a manifest that is there.
  for (const tag of await catalog.tags(crashRepository)) {
    const record = await catalog.tag(crashRepository, tag)
    assert.ok(record && (await catalog.manifest(crashRepository, record.digest)), tag)
  }
  await catalog.confirmed(crashRepository, digestOf(crashBytes(1)), { as: 'anyone', at: 5 })
}
