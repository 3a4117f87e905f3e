import { KeyedLock } from '../../src/flow/keyed-lock.ts'
import { type Digest, digestAlgorithm, digestOf } from '../../src/oci/digest.ts'
import type { BlobStore } from '../../src/storage/blob-store.ts'
import { lent } from '../support/lent.ts'
import { isSameFile } from './invariants.ts'
import { fillOf, now } from './operations.ts'
import type { Door, OpenDoor } from './world.ts'

/**
 * What `Blobs` does for those who seal, remove and check, as plain as it can be said, so that a rule can be left out:
 * `locks`: one at a time at a digest. `looksAgain`: who has checked records only what is still so.
 */
export function plainDoor({ locks = true, looksAgain = true } = {}): OpenDoor {
  return (store, catalog, stage) => {
    const lock = new KeyedLock<Digest>()
    const alone = <Value>(digest: Digest, work: () => Promise<Value>) =>
      locks ? lock.run(digest, work) : work()
    const touchedAtLock = (digest: Digest) => `the lock of ${digest}`
    const seal: Door['seal'] = (partial, digest, record) =>
      alone(digest, async () => {
        const file = await partial.seal(digest)
        await record(file)
        return file
      })
    return {
      seal,

      remove: (digest, condition) =>
        alone(digest, async () => ((await condition()) ? store.delete(digest) : 0)),

      fetch: async ({ digest, bytes }) => {
        await stage.step('look')
        if (await store.stat(digest)) return
        const partial = await store.partials.open({
          id: fillOf(digest),
          algorithm: digestAlgorithm(digest),
        })
        await partial.write(0, lent(bytes))
        await stage.step('seal', [touchedAtLock(digest)])
        await seal(partial, digest, (file) => catalog.sealed(digest, file, now))
      },

      check: async (digest) => {
        const file = await store.stat(digest)
        const isRight = digestOf(await bytesOf(store, digest)) === digest
        await catalog.blob(digest)
        await alone(digest, async () => {
          const later = await store.stat(digest)
          const isSame = file && later ? isSameFile(file, later) : file === later
          if (looksAgain && !isSame) return
          if (file && isRight) return catalog.verified(digest, file, now)
          await catalog.gone(digest)
          if (file) await store.delete(digest)
        })
      },

      remembers: () => false,
      touchedAtLock,
      [Symbol.asyncDispose]: async () => {},
    }
  }
}

async function bytesOf(store: BlobStore, digest: Digest): Promise<Buffer> {
  await using reader = await store.open(digest)
  const buffer = Buffer.alloc(reader?.size ?? 0)
  await reader?.read(buffer, 0)
  return buffer
}
