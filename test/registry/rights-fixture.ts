import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { pino } from 'pino'
import { Blobs } from '../../src/content/blobs.ts'
import { expiringInMemory, type OpenExpiring } from '../../src/flow/expiring.ts'
import { Pieces } from '../../src/flow/pieces.ts'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { DocumentReader } from '../../src/oci/document-reader.ts'
import { manifestMediaTypes } from '../../src/oci/media-type.ts'
import type { Tag } from '../../src/oci/reference.ts'
import { parseRepositoryName } from '../../src/oci/repository-name.ts'
import { createMirror, type Mirror } from '../../src/registry/mirror.ts'
import { MirroredRepository } from '../../src/registry/mirrored-repository.ts'
import type { Repository } from '../../src/registry/repository.ts'
import type { Asker, Catalog, ManifestReference } from '../../src/storage/catalog.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { type RepositoryKey, repositoryKey } from '../../src/storage/repository-key.ts'
import { UpstreamError } from '../../src/upstream/error.ts'
import { type DockerHub, startDockerHub } from '../support/docker-hub.ts'
import { blobOf, pseudoRandomBytes, type TestBlob } from '../support/images.ts'
import { clientOf } from '../upstream/fixtures.ts'

export const day = 24 * 60 * 60_000
export const [recently, longAgo] = [day - 60_000, day + 60_000]

/** What a repository made of a question. doubt: given, with a sentence why it may not be for long. */
export type Outcome = 'given' | 'doubt' | 'absent' | 'unavailable'

/** How a repository can be asked for something under its digest. */
export const questions = ['GET', 'HEAD'] as const
export type Method = (typeof questions)[number]

export interface RightsOptions {
  readonly servePrivateMs?: number
  /** Of a process before. */
  readonly catalog?: Catalog
  readonly store?: MemoryBlobStore
  /** Milliseconds after which the headers of a blob of known size leave. */
  readonly patienceMs?: number
  /** Milliseconds without a sign of life after which nobody waits for the upstream; longer than a machine is held up unless set. */
  readonly silentMs?: number
  /** Bytes of the largest blob that is fetched ahead; none unless set. */
  readonly readAheadBytes?: number
  readonly hub?: DockerHub
}

/** A mirror's repositories over memory, of an upstream where ann has an account. */
export class Rights {
  readonly hub: DockerHub
  readonly catalog: Catalog
  readonly blobs: Blobs
  readonly store: MemoryBlobStore
  readonly mirror: Mirror
  readonly upstream: ReturnType<typeof clientOf>

  private constructor(t: TestContext, hub: DockerHub, options: RightsOptions) {
    this.hub = hub
    this.catalog = options.catalog ?? new MemoryCatalog()
    this.store = options.store ?? new MemoryBlobStore()
    const { silentMs = 15_000 } = options
    const logger = pino({ level: 'silent' })
    this.blobs = new Blobs({
      pieces: new Pieces(),
      store: this.store,
      records: this.catalog,
      rate: undefined,
      retries: 0,
      patienceMs: options.patienceMs ?? 2000,
      logger,
    })
    t.after(() => this.blobs[Symbol.asyncDispose]())
    this.upstream = clientOf(t, hub.url, {
      credentials: { username: 'ann', password: 'hers' },
      patienceMs: silentMs,
      revalidateMs: 0,
    })
    const expiring: OpenExpiring = (_, budget) => expiringInMemory(budget, () => {})
    this.mirror = createMirror({
      catalog: this.catalog,
      blobs: this.blobs,
      expiring,
      documents: new DocumentReader(),
      revalidateMs: 0,
      negativeMs: 60_000,
      serveStaleMs: 30 * day,
      staleAfterMs: silentMs,
      servePrivateMs: options.servePrivateMs ?? day,
      patienceMs: silentMs,
      isWanted: false,
      upstreams: [],
      readAheadBytes: options.readAheadBytes ?? 0,
      logger,
    })
    t.after(() => this.mirror.readAhead[Symbol.asyncDispose]())
  }

  static async start(t: TestContext, options: RightsOptions = {}): Promise<Rights> {
    const hub = options.hub ?? (await startDockerHub({ accounts: { ann: 'hers' }, referrers: true }))
    t.after(() => hub.close())
    return new Rights(t, hub, options)
  }

  /** The same after a restart: what is stored, and nothing that was remembered. */
  restarted(t: TestContext, options: RightsOptions = {}): Rights {
    const { hub, catalog, store } = this
    return new Rights(t, hub, { hub, catalog, store, ...options })
  }

  /** Stores bytes, of which nobody says whose they are. */
  async keep({ digest, bytes }: TestBlob): Promise<void> {
    const partial = await this.blobs.openWriter(`test-${digest.slice(7, 20)}`, 'sha256')
    await partial.append([bytes])
    await this.blobs.seal(partial, digest, (file) => this.catalog.sealed(digest, file, Date.now()))
  }

  repository(name: string): Repository {
    return new MirroredRepository(this.mirror, this.upstream, parseRepositoryName(name))
  }

  /** A manifest of a repository names something: it has come, whatever else has. */
  async name(
    key: RepositoryKey,
    target: Digest,
    kind: ManifestReference['kind'],
    { at = Date.now(), size }: { at?: number; size?: number } = {},
  ): Promise<void> {
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, names: target, in: key }))
    const manifest = { digest: digestOf(bytes), mediaType: manifestMediaTypes.ociManifest, bytes }
    await this.catalog.pulled(key, manifest, { as: 'anyone', at, references: [{ target, kind, size }] })
  }

  /** A tag as its upstream tells it: while that is late, as where the machine is held up, the copy is given: that is asked again. */
  async heard(repository: Repository, tag: Tag): ReturnType<Repository['manifest']> {
    const deadline = performance.now() + 60_000
    for (;;) {
      const manifest = await repository.manifest(tag, { isHead: false })
      if (manifest.status !== 'stale') return manifest
      assert.ok(performance.now() < deadline, `the copy of ${tag} is given for a minute`)
    }
  }

  /** What a repository makes of a question. */
  async ask(repository: Repository, thing: Thing, method: Method): Promise<Outcome> {
    try {
      const { doubt } = await askFor(repository, thing, method)
      return doubt === undefined ? 'given' : 'doubt'
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error
      if (error.isRefusal) return 'absent'
      if (error.isOutage) return 'unavailable'
      throw error
    }
  }

  /** Questions about content that the registry answered, one way or another, since the last `reset`. */
  get asked(): number {
    return this.hub.count({ listener: 'registry', path: /\/(?:blobs|manifests)\// })
  }
}

/** Something that is asked for under its digest. */
export interface Thing {
  readonly kind: 'blob' | 'manifest'
  readonly content: TestBlob
}

export const things: readonly Thing[] = [
  { kind: 'blob', content: blobOf(pseudoRandomBytes(3000, 'thing')) },
  {
    kind: 'manifest',
    content: blobOf(
      Buffer.from(JSON.stringify({ schemaVersion: 2, layers: [] })),
      manifestMediaTypes.ociManifest,
    ),
  },
]

export const keyOf = (name: string): RepositoryKey => repositoryKey('docker.io', parseRepositoryName(name))
export const localKey = (name: string): RepositoryKey => repositoryKey('local', parseRepositoryName(name))

export const app = keyOf('acme/app')
export const other = keyOf('library/other')
export const pushed = localKey('app')

async function askFor(
  repository: Repository,
  { kind, content: { digest, size } }: Thing,
  method: Method,
): Promise<{ doubt?: string | undefined }> {
  const isHead = method === 'HEAD'
  if (kind === 'manifest') {
    const manifest = await repository.manifest(digest, { isHead })
    if (manifest.digest !== digest) throw new Error(`given ${manifest.digest} for ${digest}`)
    return manifest
  }
  if (isHead) {
    const told = await repository.blobStat(digest, {})
    if (told.size !== size) throw new Error(`told ${told.size} bytes of ${size}`)
    return told
  }
  const opened = await repository.blob(digest, {})
  await using reader = opened.reader
  await reader.verified()
  return opened
}

/** What an upstream says to anyone who asks. */
export type Word = 'yes' | 'no' | 'not found' | '429' | '503' | 'gone'

/** A row of the table of rights, without what it comes to. */
export interface Row {
  readonly holds: Asker | '-'
  readonly isNamed: boolean
  readonly others: 'public' | 'account' | 'refused' | 'pushed' | '-'
  /** Milliseconds. */
  readonly refusedFor: number
  readonly isHere: boolean
  readonly upstream: Word | '-'
}

/** Makes it as a row says. */
export async function arrange(t: TestContext, row: Row, thing: Thing): Promise<Rights> {
  const rights = await Rights.start(t)
  const { catalog, hub } = rights
  const at = Date.now() - 2 * day
  const { content, kind } = thing
  const { digest } = content
  const hold = async (key: typeof app, as: Asker): Promise<void> => {
    if (kind === 'blob') return catalog.confirmed(key, digest, { as, at })
    await catalog.pulled(
      key,
      { digest, mediaType: content.mediaType, bytes: content.bytes },
      { as, at, references: [] },
    )
  }
  // Somewhere the bytes came from; it says nothing about who may have them.
  if (row.isHere) {
    await hold(keyOf('elsewhere/private'), 'account')
    if (kind === 'blob') await rights.keep(content)
  }
  if (row.holds !== '-') await hold(app, row.holds)
  // A repository of which something was public once, so that a refusal of it is recorded.
  if (row.refusedFor > 0) await catalog.refused(app, Date.now() - row.refusedFor)
  if (row.isNamed) {
    await rights.name(app, digest, kind === 'blob' ? 'layer' : 'manifest', { at })
    if (row.refusedFor > 0) await catalog.refused(app, Date.now() - row.refusedFor)
  }
  if (row.others === 'public' || row.others === 'refused') await hold(other, 'anyone')
  if (row.others === 'refused') await catalog.refused(other, Date.now() - longAgo)
  if (row.others === 'account') await hold(other, 'account')
  if (row.others === 'pushed') {
    const file = { size: content.size, mtime: 1, inode: 1 }
    if (kind === 'blob') await catalog.pushed(pushed, digest, file, at)
    else {
      const manifest = { digest, mediaType: content.mediaType, bytes: content.bytes }
      await catalog.putManifest(pushed, manifest, { references: [], tags: [], at })
    }
  }
  await say(rights, row.upstream === '-' ? 'no' : row.upstream, thing)
  hub.reset()
  return rights
}

/** What the upstream answers to anyone about `acme/app`. */
export async function say({ hub }: Rights, word: Word, { kind, content }: Thing): Promise<void> {
  hub.addBlob('acme/app', Buffer.from('something else'))
  if (word === 'yes' || word === 'no') {
    if (kind === 'blob') hub.addBlob('acme/app', content)
    else hub.addManifest('acme/app', content)
  }
  if (word === 'no') {
    hub.setPrivate('acme/app', ['ann'])
    hub.expireTokens()
  }
  if (word === '429' || word === '503') hub.fault({ listener: 'registry' }, { status: Number(word) })
  if (word === 'gone') await hub.stop()
}
