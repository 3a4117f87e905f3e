import { type Digest, digestOf } from '../../src/oci/digest.ts'
import type { Tag } from '../../src/oci/reference.ts'
import type { Catalog, ManifestRecord, ManifestReference } from '../../src/storage/catalog.ts'
import type { Crash } from '../../src/storage/memory/crash.ts'
import { MemoryBlobStore, type MemoryBlobStoreOptions } from '../../src/storage/memory/memory-blob-store.ts'
import type { Partial, SealedFile } from '../../src/storage/partial.ts'
import type { RepositoryKey } from '../../src/storage/repository-key.ts'
import { manifestOf } from '../storage/catalog-fixtures.ts'
import type { Stage } from './turns.ts'

/** Where bytes come in and go out: `Blobs`, or the plain reading of it. To be disposed. */
export interface Door extends AsyncDisposable {
  seal(partial: Partial, digest: Digest, record: (file: SealedFile) => Promise<void>): Promise<SealedFile>
  remove(digest: Digest, condition: () => Promise<boolean>): Promise<number>
  /** Fetches a layer that is not here. Resolves when it is here. */
  fetch(layer: Layer): Promise<void>
  /** Compares what is stored with its digest, and records what it found. */
  check(digest: Digest): Promise<void>
  /** Whether it gives a digest from memory, wherever the bytes are. */
  remembers(digest: Digest): boolean
  /** What is touched by one who comes to the lock of a digest, before the next step. */
  touchedAtLock(digest: Digest): string
}

export type OpenDoor = (store: MemoryBlobStore, catalog: Catalog, stage: Stage) => Door

/** A layer by its digest, and its bytes. */
export interface Layer {
  readonly name: string
  readonly digest: Digest
  readonly bytes: Buffer
}

/** A manifest with the layers that it names. */
export interface Image {
  readonly record: ManifestRecord
  readonly layers: readonly Layer[]
  readonly references: readonly ManifestReference[]
  readonly tag: Tag
}

/** `size`: bytes, at least. */
export function layerOf(name: string, size = 0): Layer {
  const bytes = Buffer.from(`the bytes of layer ${name}`.padEnd(size, '.'))
  return { name, digest: digestOf(bytes), bytes }
}

export function imageOf(...layers: readonly Layer[]): Image {
  const references = layers.map(
    ({ digest, bytes }) => ({ target: digest, kind: 'layer', size: bytes.length }) as const,
  )
  const tag = layers.map(({ name }) => name).join('-') as Tag
  return { record: manifestOf(JSON.stringify({ layers: references })), layers, references, tag }
}

export interface WorldOptions {
  readonly stage: Stage
  readonly store: MemoryBlobStore
  /** What the program knows; asked by the invariants as well, between the steps. */
  readonly catalog: Catalog
  readonly openDoor: OpenDoor
}

/** The world of one play: what is stored and known, what was promised to whom, and what really happened. */
export class World {
  readonly stage: Stage
  readonly store: MemoryBlobStore
  /** Each question and each verb is a step. */
  readonly catalog: Catalog
  /** The same without steps. */
  readonly known: Catalog
  readonly door: Door
  /** Manifests that were acknowledged, or whose deletion was, in this order; by repository and digest. */
  readonly acknowledged = new Map<string, { repository: RepositoryKey; image: Image; isThere: boolean }>()
  /** Repositories that showed that they may have a digest: by an upstream's yes, a push, or a mount. */
  readonly evidence = new Set<string>()
  /** What some upstream gave to anyone. */
  readonly free = new Set<Digest>()
  /** Layers of which somebody was told that they are here and stay. */
  readonly warmed = new Set<Digest>()
  /** Promises that were broken to somebody. */
  readonly broken: string[] = []
  #uploads = 0

  constructor({ stage, store, catalog, openDoor }: WorldOptions) {
    this.stage = stage
    this.known = catalog
    this.catalog = stepped(catalog, stage)
    this.store = store
    const door = openDoor(store, this.catalog, stage)
    // Whoever comes to the door stands still before it: another one may take the lock first.
    const come = (name: string, digest: Digest) => stage.step(name, [door.touchedAtLock(digest)])
    this.door = {
      seal: async (partial, digest, record) => {
        await come('seal', digest)
        return stage.about(digest, () => door.seal(partial, digest, record))
      },
      remove: async (digest, condition) => {
        await come('remove', digest)
        return stage.about(digest, () => door.remove(digest, condition))
      },
      fetch: (layer) => stage.about(layer.digest, () => door.fetch(layer)),
      check: async (digest) => {
        await stage.step('check', [digest])
        await stage.about(digest, () => door.check(digest))
      },
      remembers: (digest) => door.remembers(digest),
      touchedAtLock: (digest) => door.touchedAtLock(digest),
      [Symbol.asyncDispose]: () => door[Symbol.asyncDispose](),
    }
  }

  nextUpload(): string {
    this.#uploads += 1
    return `upload-${this.#uploads}`
  }

  acknowledge(repository: RepositoryKey, image: Image, isThere: boolean): void {
    if (isThere) this.evidence.add(`${repository} ${image.record.digest}`)
    this.acknowledged.set(`${repository} ${image.record.digest}`, { repository, image, isThere })
  }

  /** What a later process opens after a crash at this moment: the same promises, and nobody who works. */
  afterCrash(crash: Crash, catalog: Catalog, openDoor: OpenDoor): World {
    const store = this.store.afterCrash(crash, {})
    const later = new World({ stage: this.stage, store, catalog, openDoor })
    for (const [key, acknowledged] of this.acknowledged) later.acknowledged.set(key, acknowledged)
    for (const shown of this.evidence) later.evidence.add(shown)
    for (const digest of this.free) later.free.add(digest)
    later.broken.push(...this.broken)
    return later
  }
}

/** A store of which the named steps are steps of the play. */
export function storeOn(stage: Stage, steps: readonly string[]): MemoryBlobStore {
  const step = async (name: string) => {
    if (steps.includes(name)) await stage.step(name)
  }
  return new SteppedStore({ now: () => 0, step })
}

class SteppedStore extends MemoryBlobStore {
  readonly #step: (name: string) => Promise<void>

  constructor(options: MemoryBlobStoreOptions & { step: (name: string) => Promise<void> }) {
    super(options)
    this.#step = options.step
  }

  override async stat(digest: Digest): Promise<SealedFile | undefined> {
    await this.#step('stat')
    return super.stat(digest)
  }
}

/** The same catalog, but each question and each verb is a step. */
export function stepped(catalog: Catalog, stage: Stage): Catalog {
  return new Proxy(catalog, {
    get(_target, name) {
      const value: unknown = Reflect.get(catalog, name, catalog)
      if (typeof value !== 'function' || typeof name !== 'string') return value
      return async (...parameters: unknown[]) => {
        await stage.step(name, aboutOneDigest.has(name) ? digestsIn(parameters) : undefined)
        return value.apply(catalog, parameters)
      }
    },
  })
}

/** Verbs that read and change nothing that is not about the digest that they name. */
const aboutOneDigest: ReadonlySet<string> = new Set([
  'blob',
  'confirmed',
  'evict',
  'gone',
  'held',
  'lease',
  'letGo',
  'mayGo',
  'mount',
  'pushed',
  'sealed',
  'verified',
] satisfies (keyof Catalog)[])

function digestsIn(parameters: readonly unknown[]): readonly string[] {
  return parameters.filter(
    (parameter) => typeof parameter === 'string' && parameter.startsWith('sha256:'),
  ) as string[]
}
