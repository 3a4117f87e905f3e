import pino from 'pino'
import { Blobs } from '../../src/content/blobs.ts'
import type { Source } from '../../src/content/source.ts'
import { Pieces } from '../../src/flow/pieces.ts'
import { alpine } from '../storage/catalog-fixtures.ts'
import { lending } from '../support/lent.ts'
import type { Layer, OpenDoor } from './world.ts'

const logger = pino({ enabled: false })

/** The real one. */
export const blobsDoor: OpenDoor = (store, catalog) => {
  const blobs = new Blobs({
    pieces: new Pieces(),
    store,
    records: catalog,
    rate: undefined,
    retries: 1,
    patienceMs: 1000,
    logger,
  })
  return {
    seal: (partial, digest, record) => blobs.seal(partial, digest, record),
    remove: (digest, condition) => blobs.remove(digest, condition),

    fetch: async (layer) => {
      const { reader } = await blobs.open(layer.digest, sourceOf(layer), { size: layer.bytes.length })
      await using opened = reader
      await opened.verified()
    },

    check: async (digest) => {
      await using reader = await blobs.openStored(digest)
      await reader?.verified()
    },

    remembers: (digest) => blobs.documents.get(digest) !== undefined,
    touchedAtLock: (digest) => digest,
    [Symbol.asyncDispose]: () => blobs[Symbol.asyncDispose](),
  }
}

/** An upstream that gives a layer at once. */
export function sourceOf({ bytes }: Layer): Source {
  return {
    name: 'docker.io',
    repository: alpine,
    open: async (start) => ({
      start,
      size: bytes.length,
      async *body() {
        yield* lending(bytes.subarray(start))
      },
      stop: () => {},
      discard: () => {},
    }),
  }
}
