// What fetches damaged blobs again. Thought of: held for anyone, by an account, only named, by nobody; pushed and not;
// quarantined and gone; an upstream that is away, refuses, is not configured any more, sends what cannot be stored; several
// of them; whole by other hands meanwhile; clients that wait, for a while and without end; a stop.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pino } from 'pino'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { RegistryError } from '../../src/oci/error.ts'
import { parseRepositoryName } from '../../src/oci/repository-name.ts'
import { Healing, type HealingOptions } from '../../src/registry/healing.ts'
import type { ServedBlob } from '../../src/registry/repository.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { localOrigin, type RepositoryKey, repositoryKey } from '../../src/storage/repository-key.ts'
import { UpstreamError } from '../../src/upstream/error.ts'
import { storeBlob } from '../storage/blob-store.contract.ts'
import { testBytes } from '../storage/files/storage-folder.ts'

const bytes = testBytes(300_000, 91)
const digest = digestOf(bytes)
const file = { size: bytes.length, mtime: 1, inode: 1 }
const app = repositoryKey(localOrigin, parseRepositoryName('app'))
const [one, two] = ['library/one', 'library/two'].map((name) =>
  repositoryKey('docker.io', parseRepositoryName(name)),
) as [RepositoryKey, RepositoryKey]

type Give = (store: MemoryBlobStore) => Promise<void>

const gives: Give = async (store) => void (await storeBlob(store, bytes))
const isAway: Give = async () => {
  throw new UpstreamError('UNREACHABLE', 'docker.io', 'no line')
}
const refuses: Give = async () => {
  throw new RegistryError('BLOB_UNKNOWN', 'no such blob')
}

/** A damaged blob; `ways`: what becomes of the pull from each repository. */
async function start(ways: ReadonlyMap<RepositoryKey, Give>, options: Partial<HealingOptions> = {}) {
  const store = new MemoryBlobStore()
  const catalog = new MemoryCatalog()
  await storeBlob(store, bytes)
  await store.quarantine.put(digest)
  const asked: RepositoryKey[] = []
  const lost = new Set<Digest>()
  const lines: string[] = []
  const healing = new Healing({
    catalog,
    store,
    lost,
    mirrored: (key) => {
      const give = ways.get(key)
      return (
        give && {
          async blob(): Promise<ServedBlob> {
            asked.push(key)
            await give(store)
            const reader = (await store.open(digest)) ?? {
              size: 0,
              isVerified: true,
              verified: async () => {},
              read: async () => 0,
              [Symbol.asyncDispose]: async () => {},
            }
            return { reader, status: 'miss' }
          },
        }
      )
    },
    isBusy: () => false,
    retryMs: 0,
    logger: pino({ level: 'info' }, { write: (line: string) => void lines.push(line) }),
    ...options,
  })
  return { store, catalog, healing, asked, lost, lines }
}

async function isHealed({ store, healing }: Awaited<ReturnType<typeof start>>): Promise<boolean> {
  assert.equal(healing.healed, (await store.stat(digest)) ? 1 : 0)
  return healing.healed === 1
}

test('a damaged blob is fetched from a repository that holds it, for anyone first', async () => {
  for (const first of [gives, isAway, refuses]) {
    const parts = await start(
      new Map([
        [one, gives],
        [two, first],
      ]),
    )
    await parts.catalog.confirmed(one, digest, { as: 'account', at: 2 })
    await parts.catalog.confirmed(two, digest, { as: 'anyone', at: 1 })
    await parts.healing.heal()
    assert.deepEqual(parts.asked, first === gives ? [two] : [two, one])
    assert.ok(await isHealed(parts))
    assert.equal(parts.store.quarantine.total.blobs, 0)
    assert.match(
      parts.lines.join(''),
      /"repository":"library\/(one|two)","msg":"a damaged blob was fetched again"/,
    )
  }
})

test('what was pushed is also fetched from a repository that only names it; what was not is not', async () => {
  for (const isPushed of [true, false]) {
    const parts = await start(new Map([[one, gives]]))
    const manifest = { digest: digestOf(Buffer.from('{}')), mediaType: 'x/y', bytes: Buffer.from('{}') }
    const references = [{ target: digest, kind: 'layer' as const, size: bytes.length }]
    await parts.catalog.pulled(one, manifest, { as: 'anyone', at: 1, references })
    if (isPushed) await parts.catalog.pushed(app, digest, file, 1)
    await parts.healing.heal()
    assert.equal(await isHealed(parts), isPushed)
    if (isPushed) assert.match(parts.lines.join(''), /a blob that was pushed are back/)
  }
})

test('an upstream that is away is asked again later, one that refuses only the next day', async () => {
  for (const [give, isAsked] of [
    [isAway, true],
    [refuses, false],
  ] as const) {
    const parts = await start(new Map([[one, give]]))
    await parts.catalog.confirmed(one, digest, { as: 'anyone', at: 1 })
    await parts.healing.heal()
    await parts.healing.heal()
    assert.equal(parts.asked.length, isAsked ? 2 : 1)
    assert.equal(parts.store.quarantine.total.blobs, 1, 'it stays')
  }
})

test('each time that an upstream is away it is left alone for longer', async () => {
  const parts = await start(new Map([[one, isAway]]), { retryMs: 60_000 })
  await parts.catalog.confirmed(one, digest, { as: 'anyone', at: 1 })
  await parts.healing.heal()
  await parts.healing.heal()
  assert.equal(parts.asked.length, 1)
})

test('an upstream that is not configured any more, or gives what cannot be stored: it waits', async () => {
  const ways: [ReadonlyMap<RepositoryKey, Give>, number][] = [
    [new Map(), 0],
    [new Map([[one, async () => {}]]), 1],
  ]
  for (const [way, times] of ways) {
    const parts = await start(way)
    await parts.catalog.confirmed(one, digest, { as: 'anyone', at: 1 })
    await parts.healing.heal()
    assert.equal(parts.asked.length, times)
    assert.equal(await isHealed(parts), false)
    assert.equal(parts.store.quarantine.total.blobs, 1)
  }
})

test('what nobody holds any more leaves the quarantine; what was pushed stays', async () => {
  for (const isPushed of [true, false]) {
    const parts = await start(new Map())
    if (isPushed) await parts.catalog.pushed(app, digest, file, 1)
    await parts.healing.heal()
    assert.equal(parts.store.quarantine.total.blobs, isPushed ? 1 : 0)
  }
})

test('a pushed blob without a file is fetched, and not missed any more then', async () => {
  const parts = await start(new Map([[one, gives]]))
  await parts.store.quarantine.remove(digest)
  await parts.catalog.pushed(app, digest, file, 1)
  await parts.catalog.confirmed(one, digest, { as: 'anyone', at: 1 })
  parts.lost.add(digest)
  await parts.healing.heal()
  assert.ok(await isHealed(parts))
  assert.equal(parts.lost.size, 0)
})

test('what is whole by other hands is asked of nobody', async () => {
  const parts = await start(new Map([[one, gives]]))
  await parts.catalog.confirmed(one, digest, { as: 'anyone', at: 1 })
  await parts.store.quarantine.remove(digest)
  parts.lost.add(digest)
  await storeBlob(parts.store, bytes)
  await parts.healing.heal()
  assert.deepEqual([parts.asked.length, parts.lost.size], [0, 0])
})

test('clients go first, for a while', async () => {
  let isBusy = true
  for (const isEndless of [true, false]) {
    const parts = await start(new Map([[one, gives]]), {
      isBusy: () => isBusy,
      busyMs: isEndless ? 30 : 60_000,
    })
    await parts.catalog.confirmed(one, digest, { as: 'anyone', at: 1 })
    const healing = parts.healing.heal()
    if (!isEndless) {
      await new Promise(setImmediate)
      assert.equal(parts.asked.length, 0)
      isBusy = false
    }
    await healing
    assert.equal(parts.asked.length, 1)
  }
})

test('a stop ends it', async () => {
  const parts = await start(new Map([[one, gives]]), { isBusy: () => true, busyMs: 60_000 })
  await parts.catalog.confirmed(one, digest, { as: 'anyone', at: 1 })
  parts.healing.start()
  await parts.healing[Symbol.asyncDispose]()
  assert.equal(parts.asked.length, 0)
})
