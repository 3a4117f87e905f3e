import type { Logger } from 'pino'
import type { Blobs } from '../content/blobs.ts'
import type { OpenExpiring } from '../flow/expiring.ts'
import { Answers } from '../mirror/answers.ts'
import { BlobQuestions } from '../mirror/blob-questions.ts'
import { ClaimedTags } from '../mirror/claimed-tags.ts'
import { Evidence } from '../mirror/evidence.ts'
import { Forgetting } from '../mirror/forgetting.ts'
import { KeptManifests } from '../mirror/kept-manifests.ts'
import { Manifests } from '../mirror/manifests.ts'
import { Referrers } from '../mirror/referrers.ts'
import { TagLists } from '../mirror/tag-lists.ts'
import type { DocumentReader } from '../oci/document-reader.ts'
import type { Catalog } from '../storage/catalog.ts'
import type { RegistryClient } from '../upstream/registry-client.ts'
import { ReadAhead, type ReadAheadOptions } from './read-ahead.ts'
import { Rights } from './rights.ts'
import { Wanted } from './wanted.ts'
import { WantedFetches } from './wanted-fetches.ts'

/** What all mirrored repositories share. */
export interface Mirror {
  readonly catalog: Pick<Catalog, 'named'>
  readonly blobs: Pick<Blobs, 'open' | 'openStored' | 'remove' | 'stat'>
  readonly rights: Rights
  readonly evidence: Evidence
  readonly answers: Answers
  readonly manifests: Manifests
  /** What upstreams said by HEAD of tags whose manifests have not come. */
  readonly claims: Pick<ClaimedTags, 'tag'>
  readonly blobQuestions: BlobQuestions
  readonly tagLists: TagLists
  readonly referrers: Referrers
  readonly forgetting: Forgetting
  readonly readAhead: ReadAhead
  /** Undefined where it is not remembered (`cache.wanted`). */
  readonly wanted: Wanted | undefined
  readonly logger: Logger
}

export interface MirrorOptions {
  readonly catalog: Catalog
  readonly blobs: Mirror['blobs'] & ReadAheadOptions['blobs']
  readonly expiring: OpenExpiring
  readonly documents: DocumentReader
  /** Milliseconds for which an upstream's answer is trusted (`cache.revalidate`). */
  readonly revalidateMs: number
  /** Milliseconds for which a refusal is remembered (`cache.negative`). */
  readonly negativeMs: number
  /** Milliseconds up to which a copy is served while its upstream fails (`cache.serveStale`). */
  readonly serveStaleMs: number
  /** Milliseconds that a client waits for the upstream while there is a copy (`cache.staleAfter`). */
  readonly staleAfterMs: number
  /** Milliseconds for which what was public is served after its repository is refused (`cache.servePrivate`). */
  readonly servePrivateMs: number
  /** Milliseconds that a client waits for an answer without which it is served all the same. */
  readonly patienceMs: number
  /** Bytes of the largest blob that is fetched before anybody asks for it (`cache.readAhead`); 0: none is. */
  readonly readAheadBytes: number
  /** Milliseconds without anybody who comes, after which what has not begun of it is dropped. */
  readonly readAheadMs?: number | undefined
  /** Whether what could not be had is fetched later (`cache.wanted`). */
  readonly isWanted: boolean
  /** See `WantedOptions`. */
  readonly wantedSpreadMs?: number | undefined
  readonly upstreams: readonly RegistryClient[]
  readonly logger: Logger
}

/** Makes the parts that mirrored repositories share. Whoever made them starts `wanted`, and disposes of that and `readAhead`. */
export function createMirror(options: MirrorOptions): Mirror {
  const { catalog, blobs, servePrivateMs } = options
  const evidence = new Evidence(options)
  const answers = new Answers(options)
  const kept = new KeptManifests(options)
  const claims = new ClaimedTags()
  const manifests = new Manifests({ ...options, kept, claims, evidence, answers })
  const tagLists = new TagLists(options)
  const referrers = new Referrers({ ...options, evidence, answers, manifests })
  const blobQuestions = new BlobQuestions({ evidence, answers })
  const rights = new Rights({
    catalog,
    held: (repository, digest) => evidence.held(repository, digest),
    servePrivateMs,
  })
  const parts = { evidence, answers, manifests, rights, blobQuestions }
  const readAhead = new ReadAhead({
    ...options,
    ...parts,
    kept,
    largestBytes: options.readAheadBytes,
    patienceMs: options.readAheadMs,
  })
  const fetches = new WantedFetches({ ...options, ...parts, readAhead })
  const wanted = new Wanted({
    ...options,
    fetch: (wish, signal) => fetches.fetch(wish, signal),
    spreadMs: options.wantedSpreadMs,
  })
  return {
    ...parts,
    claims,
    catalog,
    blobs,
    tagLists,
    referrers,
    forgetting: new Forgetting({ catalog, kept, evidence, answers, tagLists, referrers }),
    readAhead,
    wanted: options.isWanted ? wanted : undefined,
    logger: options.logger,
  }
}
