// An eviction while the n-th operation on the disk fails. Room is made for a pull while somebody reads what would go next and
// somebody else reads on: whatever fails, pulls get all bytes, the limit holds for what lies on the disk, nothing that is
// pushed, pinned or read goes, and what is counted is what is there.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { blobOf, type TestBlob } from '../content/small-cache.ts'
import { readAll } from '../storage/files/storage-folder.ts'
import { until } from '../support/settle.ts'
import {
  breakDisk,
  type DiskErrors,
  diskErrors,
  type Fault,
  faultsOf,
  nameOf,
  operationsOf,
} from './setting.ts'
import { bytesOnDisk, pinned, problemsOfPull, pushed, read, type Stored, startStored } from './stored.ts'

const errors: DiskErrors = { ...diskErrors, list: ['EIO'], space: ['EIO'] }
/** Bytes of a blob. */
const unit = 128 * 1024
const maxBytes = 10 * unit

test('an eviction, and the n-th operation on the disk fails: pulls get all, the limit holds, nothing kept goes', async (t) => {
  const stored = await startStored(t, {
    limits: { maxBytes, minFreeBytes: 0, keepAtLeastMs: 0, intervalMs: 5 },
  })
  const kept = [await pushed(stored, 1, unit), await pinned(stored, 2, unit)]
  const world = { stored, kept, next: 100 }
  await fill(world)
  const counts = await operationsOf(stored, () => evict(world))
  t.diagnostic(`operations of an eviction: ${JSON.stringify(counts)}`)
  const problems: string[] = []
  let [cases, struck] = [0, 0]
  for (const fault of faultsOf(counts, errors)) {
    cases += 1
    const { found, wasStruck } = await problemsOf(world, fault)
    if (wasStruck) struck += 1
    problems.push(...found.map((problem) => `${nameOf(fault)}: ${problem}`))
  }
  const { evicted } = stored.blobs
  t.diagnostic(`${cases} faults, ${struck} of which struck; ${evicted.blobs} blobs were evicted`)
  assert.deepEqual(problems, [])
  assert.ok(struck > cases * 0.7, `${struck} of ${cases}`)
})

interface World {
  readonly stored: Stored
  readonly kept: readonly TestBlob[]
  /** Of the next new blob. */
  next: number
}

function newBlob(world: World, units: number): TestBlob {
  world.next += 1
  return blobOf(world.next, units * unit)
}

/** Blobs until something has to go. */
async function fill(world: World): Promise<void> {
  const { blobs } = world.stored
  for (let count = 0; count < 9; count += 1) await read(blobs, newBlob(world, 1))
  await until(() => blobs.fillCount === 0)
}

/** A pull that needs room, while one blob is read that would go next and another one is read from its start. */
async function evict(world: World): Promise<string[]> {
  const { blobs, records } = world.stored
  const [oldest, hit] = await records.leastRecent({ limit: 2 })
  assert.ok(oldest && hit)
  const reader = await blobs.openStored(oldest.digest).catch(() => undefined)
  const half = Buffer.alloc(1000)
  const first = await reader?.read(half, 0).catch(() => undefined)
  const [pulled, other] = [newBlob(world, 3), newBlob(world, 1)]
  const found = await Promise.all([
    problemsOfPull(read(blobs, pulled), pulled),
    problemsOfPull(read(blobs, other), other),
  ])
  if (first !== undefined && reader) {
    // A read that fails says so; what comes has to be right.
    const rest = await readAll(reader, first).catch(() => undefined)
    const whole = rest && Buffer.concat([half.subarray(0, first), rest])
    if (whole && digestOf(whole) !== oldest.digest)
      found.push([`WRONG BYTES of what is read: ${whole.length}`])
  }
  await reader?.[Symbol.asyncDispose]()
  await until(() => blobs.fillCount === 0)
  return found.flat()
}

async function problemsOf(world: World, fault: Fault): Promise<{ found: string[]; wasStruck: boolean }> {
  const { stored, kept } = world
  const { disk, blobs, store } = stored
  breakDisk(disk, fault)
  const found = await evict(world)
  found.push(...(await problemsOfLimit(world)).map((one) => `while it fails: ${one}`))
  const wasStruck = disk.failed > 0
  disk.heal()
  await until(() => blobs.disk.isWell)
  await blobs.evictor?.run()
  found.push(...(await problemsOfLimit(world)))
  const { evicted } = blobs
  const before = { blobs: evicted.blobs, handed: blobs.handedThrough }
  // More than the cache has: something has to go, and all of it is kept.
  for (let count = 0; count < 4; count += 1) {
    const blob = newBlob(world, 3)
    found.push(...(await problemsOfPull(read(blobs, blob), blob)).map((one) => `once it is well: ${one}`))
    await until(() => blobs.fillCount === 0)
    if (!(await store.stat(blob.digest))) found.push('once it is well: what was pulled is not kept')
  }
  if (evicted.blobs === before.blobs) found.push('once it is well: nothing is evicted')
  if (blobs.handedThrough > before.handed) found.push('once it is well: blobs are handed through')
  await blobs.evictor?.run()
  found.push(...(await problemsOfLimit(world)))
  const { counted, lying } = await figuresOf(world)
  if (counted !== lying) found.push(`${counted} bytes are counted, ${lying} are there`)
  const total = store.stored.bytes + store.quarantine.total.bytes
  if (total !== lying + kept.length * unit) found.push(`the store counts ${total} bytes`)
  for (const { digest } of kept)
    if (!(await store.stat(digest))) found.push(`${digest} is kept, and has gone`)
  const partials = await store.partials.list()
  if (partials.length > 0) found.push(`left over: ${partials.map(({ id }) => id)}`)
  return { found, wasStruck }
}

/**
 * Bytes that are counted, and that lie there, of what is not kept. The two are looked at one after the other: where they differ,
 * and something was evicted meanwhile that had a file, they are looked at again. What goes without a file is no excuse.
 */
async function figuresOf({ stored, kept }: World): Promise<{ counted: number; lying: number }> {
  const { blobs } = stored
  for (;;) {
    const before = blobs.evicted.bytes
    const counted = await blobs.space.countedBytes()
    const lying = (await bytesOnDisk(stored)) - kept.length * unit
    // One that has let go of a file may not have counted that yet.
    if (counted !== lying) await blobs.evictor?.run()
    if (counted === lying || blobs.evicted.bytes === before) return { counted, lying }
  }
}

/** Bytes that lie there, by the files themselves. */
async function problemsOfLimit({ stored, kept }: World): Promise<string[]> {
  const { disk } = stored
  const numbers = await disk.aside(() => bytesOnDisk(stored))
  const lying = numbers - kept.length * unit
  return lying > maxBytes ? [`${lying} bytes lie there, of at most ${maxBytes}`] : []
}
