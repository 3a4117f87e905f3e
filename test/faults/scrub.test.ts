// A scrub, and the healing behind it, while the n-th operation on the disk fails. Damaged and whole blobs, mirrored and pushed,
// small and large: no whole one is set aside or lost, once the disk is well all damage is found, and all is whole in the end.
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { type TestContext, test } from 'node:test'
import pino from 'pino'
import { Reconciliation } from '../../src/content/reconciliation.ts'
import { Scrub } from '../../src/content/scrub.ts'
import { Healing } from '../../src/registry/healing.ts'
import { blobPath } from '../../src/storage/files/blob-files.ts'
import { good } from '../content/scripted-source.ts'
import { blobOf, type TestBlob } from '../content/small-cache.ts'
import { storedBytes } from '../storage/blob-store.contract.ts'
import { alpine, anyone, one } from '../storage/catalog-fixtures.ts'
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
import { bytesOnDisk, problemsOfPull, pushed, read, type Stored, startStored } from './stored.ts'

const errors: DiskErrors = { ...diskErrors, list: ['EIO'] }
/** Bytes: one that is read at once, and one that is not. */
const sizes = [20_000, 150_000] as const

test('a scrub, and the n-th operation on the disk fails: nothing whole is lost, all damage is found and healed', async (t) => {
  const world = await startWorld(t)
  const counts = await operationsOf(world.stored, async () => {
    await world.damage()
    await world.scrubAndHeal()
  })
  t.diagnostic(`operations of a scrub: ${JSON.stringify(counts)}`)
  const problems = await world.problemsOfEnd()
  let [cases, struck] = [0, 0]
  for (const fault of faultsOf(counts, errors)) {
    cases += 1
    const { found, wasStruck } = await problemsOf(world, fault)
    if (wasStruck) struck += 1
    problems.push(...found.map((problem) => `${nameOf(fault)}: ${problem}`))
  }
  t.diagnostic(`${cases} faults, ${struck} of which struck`)
  assert.deepEqual(problems, [])
  assert.ok(struck > cases * 0.7, `${struck} of ${cases}`)
})

interface World {
  readonly stored: Stored
  /** Changes a byte of each that is to be damaged. */
  damage(): Promise<void>
  /** Once; what fails is for the next time. */
  scrubAndHeal(): Promise<void>
  /** Which of those that nobody has damaged have another file now. */
  touched(): Promise<string[]>
  problemsOfEnd(): Promise<string[]>
  readonly all: readonly TestBlob[]
}

async function startWorld(t: TestContext): Promise<World> {
  const stored = await startStored(t)
  const { store, records, blobs, directory } = stored
  const [small, large] = sizes
  const mirrored = { damaged: blobOf(1, large), whole: blobOf(2, small) }
  for (const blob of Object.values(mirrored)) await read(blobs, blob)
  const damaged = [mirrored.damaged, await pushed(stored, 3, small)]
  const whole = [mirrored.whole, await pushed(stored, 4, large)]
  const all = [...damaged, ...whole]
  await until(() => blobs.fillCount === 0)
  // Who has them, for whoever heals.
  const references = all.map(
    ({ digest, bytes }) => ({ target: digest, kind: 'layer', size: bytes.length }) as const,
  )
  await records.pulled(alpine, one, { ...anyone(1), references })
  for (const { digest } of all) await records.confirmed(alpine, digest, anyone(1))
  const logger = pino({ level: 'silent' })
  const scrub = new Scrub({ catalog: records, stored: blobs.stored, everyMs: 0, settleMs: 0, logger })
  const healing = new Healing({
    catalog: records,
    store,
    lost: blobs.stored.damage.lost,
    mirrored: () => ({
      blob: async (digest) => {
        const blob = all.find((one) => one.digest === digest) ?? assert.fail()
        return blobs.open(digest, good('library/alpine', blob.bytes), { size: blob.bytes.length })
      },
    }),
    isBusy: () => blobs.fillCount > 0,
    retryMs: 0,
    logger,
  })
  const reconciliation = new Reconciliation({ store, catalog: records, blobs, logger, isInHurry: true })
  const inodes = async () => Promise.all(whole.map(async ({ digest }) => (await store.stat(digest))?.inode))
  let before = await inodes()
  const scrubAndHeal = async () => {
    await scrub.scrub().catch(() => {})
    await healing.heal().catch(() => {})
    await until(() => blobs.fillCount === 0)
  }
  return {
    stored,
    all,
    scrubAndHeal,
    async damage() {
      before = await inodes()
      for (const { digest, bytes } of damaged) {
        const wrong = Buffer.from(bytes)
        wrong.writeUInt8(wrong.readUInt8(1000) ^ 1, 1000)
        await writeFile(blobPath(directory, digest), wrong)
      }
    },
    async touched() {
      const [was, is] = [before, await inodes()]
      return whole.flatMap(({ digest }, index) => (is[index] === was[index] ? [] : [digest]))
    },
    async problemsOfEnd() {
      await reconciliation.run()
      for (let round = 0; round < 2; round += 1) await scrubAndHeal()
      const found: string[] = []
      // What could not be set aside was removed, and is fetched when it is wanted.
      for (const blob of Object.values(mirrored))
        found.push(...(await problemsOfPull(read(blobs, blob), blob)))
      await until(() => blobs.fillCount === 0)
      for (const { digest, bytes } of all) {
        const there = await storedBytes(store, digest)
        if (!there) found.push(`${digest} is not there`)
        else if (!there.equals(bytes)) found.push(`${digest} is damaged`)
      }
      const expected = all.reduce((sum, { bytes }) => sum + bytes.length, 0)
      const lying = await bytesOnDisk(stored)
      if (store.quarantine.total.blobs > 0) found.push(`${store.quarantine.total.blobs} are set aside`)
      if (lying !== expected) found.push(`${lying} bytes lie there, not ${expected}`)
      if (store.stored.bytes !== expected)
        found.push(`${store.stored.bytes} bytes are counted, not ${expected}`)
      const { cached, kept } = await records.usage()
      if (cached.bytes + kept.bytes !== expected)
        found.push(`${cached.bytes + kept.bytes} bytes are recorded`)
      if (blobs.stored.damage.lost.size > 0)
        found.push(`${blobs.stored.damage.lost.size} are said to be lost`)
      return found
    },
  }
}

async function problemsOf(world: World, fault: Fault): Promise<{ found: string[]; wasStruck: boolean }> {
  const { disk, blobs } = world.stored
  await world.damage()
  breakDisk(disk, fault)
  await world.scrubAndHeal()
  const pulls = await Promise.all(world.all.map((blob) => problemsOfPull(read(blobs, blob), blob)))
  await until(() => blobs.fillCount === 0)
  const wasStruck = disk.failed > 0
  disk.heal()
  // A disk that does not read cuts pulls, and never gives wrong bytes.
  const found = pulls.flat().filter((problem) => problem.startsWith('WRONG'))
  // What cannot be read at all, from a disk that is written to, is damaged.
  const isUnreadable = fault.isLasting && (fault.operation === 'open' || fault.operation === 'read')
  const touched = isUnreadable ? [] : await world.touched()
  found.push(...touched.map((digest) => `${digest} was whole, and is set aside or lost`))
  await until(() => blobs.disk.isWell)
  found.push(...(await world.problemsOfEnd()).map((problem) => `once it is well: ${problem}`))
  return { found, wasStruck }
}
