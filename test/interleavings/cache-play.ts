import assert from 'node:assert/strict'
import pino from 'pino'
import { Blobs } from '../../src/content/blobs.ts'
import { Reconciliation } from '../../src/content/reconciliation.ts'
import { Pieces } from '../../src/flow/pieces.ts'
import type { Digest } from '../../src/oci/digest.ts'
import { Healing } from '../../src/registry/healing.ts'
import type { BlobReader } from '../../src/storage/blob-reader.ts'
import type { Catalog } from '../../src/storage/catalog.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { nameOf, originOf } from '../../src/storage/repository-key.ts'
import { alpine, anyone, app } from '../storage/catalog-fixtures.ts'
import { sourceOf } from './blobs-door.ts'
import { graceMs, longAgo, now } from './operations.ts'
import type { Loss } from './search.ts'
import { Stage, type Turns } from './turns.ts'
import { type Image, imageOf, type Layer, layerOf, stepped } from './world.ts'

/** Bytes: two of them are verified before their first byte is given, and are kept in memory. */
const layers = [
  layerOf('a', 100_000),
  layerOf('b', 80_000),
  layerOf('c', 1000),
  layerOf('d', 90_000),
] as const
const [a, b, c, d] = layers
const one = imageOf(a, c)
const two = imageOf(b, a)
/** Bytes: less than all of them. */
const limit = 210_000
const readSize = 30_000
/** Turns that somebody stands still for before it acts. */
const readsSlowly = 3

export interface Course {
  readonly present: readonly string[]
  readonly acting: readonly string[]
}

type Act = (play: CachePlay) => Promise<void>

/** Who may take part. */
export const actors: Readonly<Record<string, Act>> = {
  'puller of a': (play) => play.pull(a),
  'puller of b': (play) => play.pull(b),
  'puller of c': (play) => play.pull(c),
  'puller of d': (play) => play.pull(d),
  'slow reader of a': (play) => play.pull(a, readsSlowly),
  'warmer of one': (play) => play.warm(one),
  'warmer of two': (play) => play.warm(two),
  'pinner of two': (play) => play.pin(two),
  'unpinner of one': (play) => play.unpin(one),
  'forgetter of one': (play) => play.forget(one),
  evictor: (play) => play.evictToMark(),
  'evictor of a': (play) => play.evict(a),
  'evictor of b': (play) => play.evict(b),
  'pusher of one': (play) => play.push(one),
  'pusher of two': (play) => play.push(two),
  'collector of a': (play) => play.collect(a),
  'deleter of one': (play) => play.deletePushed(one),
  'bad disk under a': (play) => play.damage(a),
  'bad disk under c': (play) => play.damage(c),
  healer: (play) => play.heal(),
}

/** What there may be before, none, some or all of it. */
export const before: Readonly<Record<string, Act>> = {
  'a is cached': (play) => play.pull(a),
  'b is cached': (play) => play.pull(b),
  'c is cached': (play) => play.pull(c),
  'a is idle': (play) => play.upload(a, longAgo),
  'one is pinned': (play) => play.warm(one),
  'two was pushed': (play) => play.push(two),
}

/** A whole cache with its limit, its evictor and its healing; over memory. */
export class CachePlay {
  readonly stage: Stage
  readonly problems: string[] = []
  readonly #known: Catalog
  readonly #catalog: Catalog
  readonly #store: MemoryBlobStore
  readonly #blobs: Blobs
  readonly #healing: Healing
  /** Layers of which somebody was told that they are here and stay, by the tag that is pinned. */
  readonly #warmed = new Map<Digest, Image>()
  readonly #pushed = new Set<Image>()
  readonly #wasDamaged = new Set<Digest>()
  #uploads = 0

  constructor(turns: Turns, catalog: Catalog) {
    this.stage = new Stage(turns)
    this.#known = catalog
    this.#catalog = stepped(catalog, this.stage)
    const steps = ['rename', 'unlink', 'quarantine']
    this.#store = new MemoryBlobStore({
      now: () => longAgo,
      step: async (name) => {
        if (steps.includes(name)) await this.stage.step(`disk: ${name}`)
      },
    })
    this.#blobs = new Blobs({
      pieces: new Pieces(),
      store: this.#store,
      records: this.#catalog,
      rate: undefined,
      retries: 1,
      patienceMs: 5000,
      logger,
      limits: { maxBytes: limit, minFreeBytes: 0, keepAtLeastMs: 0, intervalMs: 2 ** 31 - 1 },
    })
    this.#healing = new Healing({
      catalog: this.#catalog,
      store: this.#store,
      lost: this.#blobs.stored.damage.lost,
      mirrored: () => ({
        blob: (digest, { ranges: _, ...options }) =>
          this.#blobs.open(digest, sourceOf(of(digest)), options) as never,
      }),
      isBusy: () => false,
      logger,
    })
  }

  /** Runs the actors, and says what is wrong between their steps and at the end. */
  async run({ present, acting }: Course, passTime: (ms: number) => void): Promise<Loss> {
    for (const name of present) await (before[name] ?? assert.fail(name))(this)
    const acts = acting.map((name) => [name, () => (actors[name] ?? assert.fail(name))(this)] as const)
    const options = { passTime: passing(passTime), look: () => this.#look() }
    await this.stage.play(Object.fromEntries(acts), options)
    await this.stage.play({ 'last eviction': () => this.evictToMark() }, { passTime: passing(passTime) })
    await this.#judge()
    await this.#blobs[Symbol.asyncDispose]()
    return { problems: this.problems, schedule: this.stage.schedule }
  }

  async pull(layer: Layer, waits = 0): Promise<void> {
    await this.stage.step('asks')
    const { reader } = await this.#blobs.open(layer.digest, sourceOf(layer), { size: layer.bytes.length })
    await this.#readAll(layer, reader, waits)
    await this.#catalog.confirmed(alpine, layer.digest, anyone(now))
  }

  /** See `warm` of `pinned.ts`. */
  async warm(image: Image): Promise<void> {
    await this.pin(image)
    const { record, references, tag } = image
    await this.#catalog.pulled(alpine, record, { ...anyone(now), tag, references })
    for (const layer of image.layers) {
      for (let left = 2; left > 0; left -= 1) {
        await this.pull(layer)
        if ((await this.#catalog.blob(layer.digest)) === undefined) continue
        if (await this.#isPinned(image)) this.#warmed.set(layer.digest, image)
        break
      }
    }
  }

  pin({ tag }: Image): Promise<void> {
    return this.#catalog.pin({ origin: originOf(alpine), repository: nameOf(alpine), tag }, now)
  }

  async unpin(image: Image): Promise<void> {
    const { tag } = image
    await this.#catalog.unpin({ origin: originOf(alpine), repository: nameOf(alpine), tag })
    this.#release(image)
  }

  async forget(image: Image): Promise<void> {
    await this.#catalog.deleteManifest(alpine, image.record.digest, now)
    this.#release(image)
  }

  async evictToMark(): Promise<void> {
    await this.stage.step('begins')
    await this.#blobs.evictor?.run()
  }

  /** At its worst: even what was used just now is old enough. */
  async evict({ digest }: Layer): Promise<void> {
    await this.stage.step('begins')
    await this.#blobs.remove(digest, () => this.#catalog.evict(digest, Number.MAX_SAFE_INTEGER))
  }

  async push(image: Image): Promise<void> {
    for (const { digest, bytes } of image.layers) {
      if (await this.#catalog.mount(app, digest, 'free', { at: now, refusedAfter: longAgo })) continue
      await this.upload({ digest, bytes }, now)
    }
    const { record, references, tag } = image
    const missing = await this.#catalog.putManifest(app, record, { references, tags: [tag], at: now })
    if (missing.length === 0) this.#pushed.add(image)
    else if (!missing.some((digest) => this.#wasDamaged.has(digest)))
      this.problems.push(`a push lacks ${missing}`)
  }

  async upload({ digest, bytes }: Pick<Layer, 'digest' | 'bytes'>, at: number): Promise<void> {
    this.#uploads += 1
    const writer = await this.#blobs.openWriter(`upload-${this.#uploads}`, 'sha256')
    await writer.append([bytes])
    await this.#blobs.seal(writer, digest, (file) => this.#catalog.pushed(app, digest, file, at))
  }

  async collect({ digest }: Layer): Promise<void> {
    await this.stage.step('begins')
    const letGo = () => this.#catalog.letGo(app, digest, now, graceMs)
    await this.#blobs.remove(digest, async () => (await letGo()) === 'unlink')
  }

  async deletePushed(image: Image): Promise<void> {
    if ((await this.#catalog.deleteManifest(app, image.record.digest, now)) === 'deleted')
      this.#pushed.delete(image)
  }

  /** Its file is another one, with other bytes: it is found, and set aside. */
  async damage({ digest }: Layer): Promise<void> {
    await this.stage.step('damages')
    if (!(await this.#store.stat(digest))) return
    this.#wasDamaged.add(digest)
    this.#store.damage(digest, (bytes) => bytes.fill(0, 0, 4), { touches: true })
    await this.#blobs.stored.verify(digest)
  }

  async heal(): Promise<void> {
    await this.stage.step('begins')
    await this.#healing.heal()
  }

  #release({ layers: released }: Image): void {
    for (const { digest } of released) this.#warmed.delete(digest)
  }

  async #isPinned({ tag, record }: Image): Promise<boolean> {
    const isWanted = (await this.#known.pins()).some(({ pattern }) => pattern.tag === tag)
    return isWanted && (await this.#known.tag(alpine, tag))?.digest === record.digest
  }

  async #readAll({ digest, bytes, name }: Layer, reader: BlobReader, waits: number): Promise<void> {
    await using opened = reader
    const buffer = Buffer.alloc(opened.size)
    try {
      for (let position = 0; position < opened.size; ) {
        for (let wait = 0; wait <= waits; wait += 1) await this.stage.step('reads')
        const count = await opened.read(buffer.subarray(position, position + readSize), position)
        if (count === 0) throw new Error(`the end of ${name} at ${position} of ${opened.size}`)
        position += count
      }
      await opened.verified()
    } catch (error) {
      // It is cut, and told so, rather than given wrong bytes.
      if (!this.#wasDamaged.has(digest)) this.problems.push(`a reader of ${name} was told ${String(error)}`)
      return
    }
    if (!buffer.equals(bytes)) this.problems.push(`a reader of ${name} got other bytes`)
  }

  /** Whoever works stands still: what is recorded is here, and the limit holds. */
  async #look(): Promise<void> {
    for (const { name, digest } of layers) {
      if ((await this.#known.blob(digest)) && !(await this.#store.stat(digest)))
        this.problems.push(`for a moment there is a record of ${name} without its bytes`)
    }
  }

  async #judge(): Promise<void> {
    let cached = 0
    for (const { name, digest, bytes } of layers) {
      const [row, file] = [await this.#known.blob(digest), await this.#store.stat(digest)]
      if ((row === undefined) !== (file === undefined))
        this.problems.push(`a record or a file of ${name} alone`)
      if (row && !row.kept) cached += bytes.length
      const isHere = row !== undefined && file !== undefined
      const isExcused = this.#wasDamaged.has(digest)
      if (this.#warmed.has(digest) && !isHere && !isExcused)
        this.problems.push(`${name} was warmed, and is lost`)
      for (const image of this.#pushed) {
        const isOfIt = image.layers.some((layer) => layer.digest === digest)
        if (isOfIt && !(isHere && row.kept) && !isExcused) this.problems.push(`pushed layer ${name} is lost`)
      }
    }
    const partials = (await this.#store.partials.list()).reduce((sum, partial) => sum + partial.bytes, 0)
    let setAside = 0
    for (const { digest, size } of this.#store.quarantine.list()) {
      const holders = await this.#known.localHolders(digest, 1)
      if (holders.length === 0) setAside += size
    }
    const files = cached + partials + setAside
    const counted = await this.#blobs.space.countedBytes()
    if (counted !== files) this.problems.push(`${counted} bytes are counted, and ${files} are there`)
    if (counted > limit) this.problems.push(`${counted} bytes are more than the limit`)
    const reconciliation = new Reconciliation({
      store: this.#store,
      catalog: this.#known,
      blobs: this.#blobs,
      logger,
      isInHurry: true,
    })
    const { adopted, missing } = await reconciliation.run()
    if (adopted + missing > 0) this.problems.push(`reconciliation finds ${adopted} and ${missing}`)
  }
}

const logger = pino({ enabled: false })

function of(digest: Digest): Layer {
  return layers.find((layer) => layer.digest === digest) ?? assert.fail(digest)
}

/** Moves the clock where nobody moves, for some minutes. */
function passing(passTime: (ms: number) => void): () => boolean {
  let passed = 0
  return () => {
    passTime(1000)
    passed += 1000
    return passed < 20 * 60_000
  }
}
