import type { TestContext } from 'node:test'
import { pino } from 'pino'
import type { BlobsOptions } from '../../src/content/blobs.ts'
import type { Source } from '../../src/content/source.ts'
import { Uplink } from '../../src/flow/uplink.ts'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { parseRepositoryName } from '../../src/oci/repository-name.ts'
import type { BlobReader } from '../../src/storage/blob-reader.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { BlobDownloads } from '../../src/upstream/blob-downloads.ts'
import { LineUse } from '../../src/upstream/connections/line-use.ts'
import { testBytes } from '../storage/files/storage-folder.ts'
import { lending } from '../support/lent.ts'
import { answerOf, FakeLink } from '../upstream/fake-link.ts'
import { blobsOver, keyOf } from './scripted-source.ts'

export interface Layer {
  readonly bytes: Buffer
  readonly digest: Digest
  readonly size: number
}

/** How the upstream sends a blob: bytes at a time, and milliseconds between; at once where there are none. */
export interface Flow {
  readonly piece: number
  readonly everyMs?: number
}

const pieceSize = 50_000

/** Blobs of one upstream with so many places, on a clock that stands still unless it is told to go on. */
export function sharedLine(
  t: TestContext,
  { places = 3, store = new MemoryBlobStore(), ...options }: Partial<BlobsOptions> & { places?: number } = {},
) {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'] })
  t.mock.method(performance, 'now', () => Date.now())
  const layers = new Map<string, Layer>()
  const flows = new Map<string, Flow>()
  let connections = 0
  let mostConnections = 0
  const sent = new Map<string, number>()
  const link = new FakeLink(({ path, headers = {}, signal }) => {
    signal?.throwIfAborted()
    const digest = path.slice('blobs/'.length)
    const { bytes } = layers.get(digest) ?? { bytes: Buffer.alloc(0) }
    const start = Number(/^bytes=(\d+)-/.exec(headers.range ?? '')?.[1] ?? 0)
    const { piece, everyMs } = flows.get(digest) ?? { piece: pieceSize }
    let isStopped = false
    let wake = (): void => {}
    const stop = (): void => {
      isStopped = true
      wake()
    }
    return answerOf(206, {
      headers: { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` },
      async *lent() {
        connections += 1
        mostConnections = Math.max(mostConnections, connections)
        signal?.addEventListener('abort', stop, { once: true })
        try {
          for (let at = start; at < bytes.length && !isStopped; at += piece) {
            if (everyMs !== undefined) {
              await new Promise<void>((resolve) => {
                wake = resolve
                setTimeout(resolve, everyMs)
              })
            }
            signal?.throwIfAborted()
            if (isStopped) return
            const chunk = Buffer.from(bytes.subarray(at, at + piece))
            sent.set(digest, (sent.get(digest) ?? 0) + chunk.length)
            yield* lending(chunk)
          }
        } finally {
          connections -= 1
        }
      },
      stop,
    })
  })
  const downloads = new BlobDownloads(link, {
    logger: pino({ level: 'silent' }),
    upstream: 'docker.io',
    lineUse: new LineUse(),
    atStorage: (question) => link.request(question),
    uplink: new Uplink(),
    early: { storageFound: () => {} },
    downloads: places,
    connections: 32,
  })
  const repository = parseRepositoryName('library/app')
  // Each blob takes its turn, however small, and comes over one connection: it is the turns that are looked at.
  const blobs = blobsOver(t, store, { slowMs: 3000, fetching: { smallBlob: 0 }, connections: 1, ...options })
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 20; i += 1) await new Promise(setImmediate)
  }
  return {
    blobs,
    store,
    downloads,
    link,
    sentOf: ({ digest }: Layer) => sent.get(digest) ?? 0,
    get connections() {
      return connections
    },
    get mostConnections() {
      return mostConnections
    },
    layer(seed: number, size: number, flow: Flow = { piece: pieceSize }): Layer {
      const bytes = testBytes(size, seed)
      const layer = { bytes, digest: digestOf(bytes), size }
      layers.set(layer.digest, layer)
      flows.set(layer.digest, flow)
      return layer
    },
    change: ({ digest }: Layer, flow: Flow) => void flows.set(digest, flow),
    open({ digest, size }: Layer, client?: string, signal?: AbortSignal) {
      const source: Source = {
        name: 'docker.io',
        repository: keyOf('library/app'),
        turn: (turn, signal) => downloads.turn(turn, signal),
        open: (position, query) => downloads.open(repository, digest, { position, ...query }),
      }
      return blobs.open(digest, source, { size, client, signal })
    },
    settle,
    /** Lets so much time pass. */
    async pass(ms: number): Promise<void> {
      for (let passed = 0; passed < ms; passed += 50) {
        t.mock.timers.tick(50)
        await settle()
      }
    },
  }
}

/** Whether there is a byte at `position` at this moment. */
export async function hasByte(reader: BlobReader, position = 0): Promise<boolean> {
  const left = new AbortController()
  const reading = reader.read(Buffer.alloc(1), position, { signal: left.signal }).catch(() => 0)
  for (let i = 0; i < 5; i += 1) await new Promise(setImmediate)
  left.abort()
  return (await reading) > 0
}
