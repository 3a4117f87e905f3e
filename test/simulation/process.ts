import type { Logger } from 'pino'
import { Blobs } from '../../src/content/blobs.ts'
import { Pieces } from '../../src/flow/pieces.ts'
import { Slots } from '../../src/flow/slots.ts'
import { TokenBucket } from '../../src/flow/token-bucket.ts'
import { BufferPool } from '../../src/http/buffer-pool.ts'
import type { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import type { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import type { Ledger } from './ledger.ts'
import { Lending } from './lending.ts'
import type { ProcessOptions } from './scenario.ts'
import { type Line, SimSource } from './source.ts'
import type { SimUpstream } from './upstream.ts'

/** Milliseconds without a byte after which a connection is taken for dead (`limits.stall`). */
const watchdogMs = 30_000

export interface ProcessParts {
  /** Counted from 1; in its name it asks for what comes later. */
  readonly number: number
  readonly store: MemoryBlobStore
  readonly catalog: MemoryCatalog
  readonly upstreams: readonly SimUpstream[]
  readonly options: ProcessOptions
  readonly logger: Logger
  readonly isTraced: boolean
  readonly log: (what: string) => void
}

/** One Larder, from its start until it is killed or has ended in good order. */
export class SimProcess {
  readonly number: number
  readonly store: MemoryBlobStore
  readonly catalog: MemoryCatalog
  readonly blobs: Blobs
  readonly lending: Lending
  readonly pieces = new Pieces()
  readonly pool = new BufferPool(1024 * 1024)
  readonly lines: readonly Line[]
  readonly #log: (what: string) => void
  /** Whether it was told to end. */
  isStopping = false
  isOver = false

  constructor(parts: ProcessParts) {
    const { number, store, catalog, upstreams, options, logger, isTraced, log } = parts
    const { downloads, rate, turnMs, clientFills, ...rest } = options
    const { connections } = rest
    this.number = number
    this.store = store
    this.catalog = catalog
    this.lending = new Lending(isTraced)
    this.#log = log
    this.lines = upstreams.map((upstream) => ({
      upstream,
      connections: new Slots({ places: connections, turnMs }),
      downloads: new Slots({ places: downloads, turnMs }),
    }))
    this.blobs = new Blobs({
      store,
      records: catalog,
      pieces: this.pieces,
      rate: rate === undefined ? undefined : new TokenBucket(rate),
      logger,
      ...rest,
      ...(clientFills === undefined ? {} : { clientFills }),
    })
  }

  source(upstream: number, ledger: Ledger): SimSource {
    const line = this.lines[upstream]
    if (!line) throw new Error(`there is no upstream ${upstream}`)
    return new SimSource({ line, ledger, lending: this.lending, log: this.#log, watchdogMs })
  }

  /** Ends it in good order. */
  async stop(): Promise<void> {
    this.isStopping = true
    await this.blobs[Symbol.asyncDispose]()
    this.pieces[Symbol.dispose]()
    this.isOver = true
  }
}
