// The reserve of a data folder. Thought of: a disk with little room at first; a process that comes later; room for a part
// of it; what must not take the room that was given up.
import assert from 'node:assert/strict'
import { statfsSync, statSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { FileBlobStore } from '../../src/storage/files/file-blob-store.ts'
import { Reserve } from '../../src/storage/reserve.ts'
import { reasonToSkip } from '../support/programs.ts'
import { smallDisk, smallDiskNeeds } from './files/small-disk.ts'

const skip = reasonToSkip(smallDiskNeeds)
const mebibyte = 1024 * 1024

function freeBytes(folder: string): number {
  const { bavail, bsize } = statfsSync(folder)
  return bavail * bsize
}

test('it is a sixteenth of a small disk, a few MiB of a large one, and real bytes', { skip }, async (t) => {
  for (const [options, bytes] of [
    ['size=16m', mebibyte],
    ['size=1g', 8 * mebibyte],
  ] as const) {
    const folder = await smallDisk(t, options)
    const free = freeBytes(folder)
    const reserve = Reserve.in(folder)
    for (let times = 0; times < 2; times += 1) reserve.make()
    assert.equal(statSync(join(folder, 'reserve')).size, bytes)
    assert.equal(free - freeBytes(folder), bytes)
    assert.equal(reserve.isGivenUp, false)
  }
})

test('the last bytes of a disk that was full before are left alone, and it counts as before', {
  skip,
}, async (t) => {
  const folder = await smallDisk(t, 'size=16m')
  const filler = join(folder, 'filler')
  await writeFile(filler, Buffer.alloc(14.5 * mebibyte))
  const reserve = Reserve.in(folder)
  reserve.make()
  assert.equal(statSync(join(folder, 'reserve'), { throwIfNoEntry: false }), undefined)
  assert.deepEqual([reserve.isGivenUp, reserve.giveUp()], [false, false])
  await rm(filler)
  reserve.make()
  assert.equal(statSync(join(folder, 'reserve')).size, mebibyte)
})

test('given up, it is so for later processes too, until there is room for it, or for a part', {
  skip,
}, async (t) => {
  const folder = await smallDisk(t, 'size=16m')
  const filler = join(folder, 'filler')
  const reserve = Reserve.in(folder)
  reserve.make()
  await writeFile(filler, Buffer.alloc(15 * mebibyte))
  assert.equal(freeBytes(folder), 0)
  assert.equal(reserve.giveUp(), true)
  assert.equal(freeBytes(folder), mebibyte)
  assert.deepEqual([reserve.isGivenUp, reserve.giveUp()], [true, false])
  await writeFile(join(folder, 'others'), Buffer.alloc(0.8 * mebibyte))
  const later = Reserve.sharing(Reserve.in(folder).shared)
  later.make()
  assert.deepEqual([later.isGivenUp, statSync(join(folder, 'reserve')).size], [true, 0])
  await writeFile(join(folder, 'others'), Buffer.alloc(0.5 * mebibyte))
  later.make()
  assert.equal(later.isGivenUp, false)
  const part = statSync(join(folder, 'reserve')).size
  assert.ok(part > 0.4 * mebibyte && part < 0.5 * mebibyte, String(part))
  await rm(filler)
  later.make()
  assert.equal(statSync(join(folder, 'reserve')).size, mebibyte)
})

test('while it is given up neither pushes nor fills have the room', { skip }, async (t) => {
  const folder = await smallDisk(t, 'size=16m')
  const reserve = Reserve.in(folder)
  reserve.make()
  await using store = await FileBlobStore.open(folder, reserve)
  await using writer = await store.writers.open({ id: 'upload-1', algorithm: 'sha256' })
  await writer.append([Buffer.from('a')])
  assert.ok((await store.room()).bytes > 0)
  reserve.giveUp()
  await assert.rejects(writer.append([Buffer.from('b')]), { code: 'FULL' })
  assert.equal((await store.room()).bytes, 0)
  reserve.make()
  await writer.append([Buffer.from('b')])
  assert.equal(writer.size, 2)
})
