/**
 * Runs in a process of its own that is killed, or whose disk loses power: fills a partial, seals blobs or writes
 * the catalog in the folder of its second parameter, and tells its parent of each step that has resolved.
 */

import { once } from 'node:events'
import { type FileHandle, mkdir, open } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { digestOf } from '../../src/oci/digest.ts'
import type { Tag } from '../../src/oci/reference.ts'
import type { RepositoryName } from '../../src/oci/repository-name.ts'
import { FileBlobStore } from '../../src/storage/files/file-blob-store.ts'
import type { Partial } from '../../src/storage/partial.ts'
import { localOrigin, repositoryKey } from '../../src/storage/repository-key.ts'
import { SqliteCatalog } from '../../src/storage/sqlite/sqlite-catalog.ts'
import { lent } from '../support/lent.ts'
import { testBytes } from './files/storage-folder.ts'

/** What the child fills its partial with. */
export const crashContent = testBytes(12_000_000, 9)
export const crashPartial = { id: 'fill', algorithm: 'sha256' } as const
export const crashPushed = repositoryKey(localOrigin, 'crash' as RepositoryName)
export const crashRepository = repositoryKey('docker.io', 'library/crash' as RepositoryName)

/** The blob or manifest of the child's n-th step. */
export function crashBytes(n: number): Buffer {
  return testBytes(50_000 + n, n + 1)
}

/** The name of the partial by which the child's n-th blob comes. */
export function crashBlobId(n: number): string {
  return `blob-${n}`
}

export function crashTag(n: number): Tag {
  return `tag-${n}` as Tag
}

/** Writes ranges from two fronts in turns, as two connections do. */
async function* fill(folder: string) {
  const store = await FileBlobStore.open(folder)
  const partial: Partial = await store.partials.open(crashPartial)
  const chunk = 40_000
  const half = crashContent.length / 2
  for (let at = 0; at < half; at += chunk) {
    for (const start of [at, half + at]) {
      await partial.write(start, lent(crashContent.subarray(start, start + chunk)))
      yield { start, end: start + chunk }
    }
  }
}

/** The same, while no time goes by but five seconds at every tenth write; it goes on when that one is on the disk. */
async function* syncedFill(folder: string) {
  let now = 0
  performance.now = () => now
  const syncs = await countedSyncs(folder)
  let [writes, total, synced] = [0, 0, 0]
  for await (const written of fill(folder)) {
    total += written.end - written.start
    writes += 1
    if (writes % 10 === 0) {
      // One of the bytes, and one of the journal.
      while (syncs() < writes / 5) await sleep(2)
      synced = total
    }
    if (writes % 10 === 9) now += 5000
    yield { ...written, synced }
  }
}

/** Tells how many syncs of files have succeeded since. */
async function countedSyncs(folder: string): Promise<() => number> {
  await using opened = await open(folder)
  const handles: FileHandle = Object.getPrototypeOf(opened)
  const { datasync } = handles
  let syncs = 0
  handles.datasync = async function (this: FileHandle) {
    await Reflect.apply(datasync, this, [])
    syncs += 1
  }
  return () => syncs
}

async function* seal(folder: string) {
  const store = await FileBlobStore.open(folder)
  // Half of the folders are there and half are not: making one and syncing it would sync the others too.
  for (let byte = 0; byte < 256; byte += 2) {
    await mkdir(join(folder, 'blobs/sha256', byte.toString(16).padStart(2, '0')), { recursive: true })
  }
  for (let n = 0; ; n += 1) {
    const bytes = crashBytes(n)
    const partial = await store.partials.open({
      id: crashBlobId(n),
      algorithm: 'sha256',
    })
    await partial.write(0, lent(bytes))
    await partial.seal(digestOf(bytes))
    yield n
  }
}

async function* tag(folder: string) {
  const catalog = await SqliteCatalog.open(join(folder, 'catalog.db'))
  for (let n = 0; ; n += 1) {
    const bytes = crashBytes(n)
    const digest = digestOf(bytes)
    const references = [{ target: digestOf(Buffer.from(`${n}`)), kind: 'layer', size: n }] as const
    const given = { as: 'anyone', at: n, tag: crashTag(n), references } as const
    await catalog.pulled(crashRepository, { digest, mediaType: 'application/json', bytes }, given)
    yield n
  }
}

/** Pushes with tags, of which every third goes again. */
async function* push(folder: string) {
  const path = join(folder, 'pushed.journal')
  const catalog = await SqliteCatalog.open(join(folder, 'catalog.db'), {}, { pushed: { path } })
  for (let n = 0; ; n += 1) {
    const bytes = crashBytes(n)
    const manifest = { digest: digestOf(bytes), mediaType: 'application/json', bytes }
    await catalog.putManifest(crashPushed, manifest, { references: [], tags: [crashTag(n)], at: n })
    if (n % 3 === 2) await catalog.deleteTag(crashPushed, crashTag(n - 1))
    yield n
  }
}

const works = { fill, syncedFill, seal, tag, push }

export type CrashWork = keyof typeof works

async function runAndTell(work: CrashWork, folder: string, pace: string): Promise<void> {
  for await (const step of works[work](folder)) {
    process.send?.(step)
    if (pace === 'step') await once(process, 'message')
    else await new Promise(setImmediate)
  }
  await once(process, 'disconnect')
}

if (import.meta.main) {
  const [work = '', folder = '', pace = ''] = process.argv.slice(2)
  await runAndTell(work as CrashWork, folder, pace)
}
