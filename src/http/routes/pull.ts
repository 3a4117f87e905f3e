import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Manifests, MirroredRepository } from '../../mirror/manifests.ts'
import type { Referrers } from '../../mirror/referrers.ts'
import type { TagLists } from '../../mirror/tag-lists.ts'
import { RegistryError } from '../../oci/error.ts'
import { isDigestReference } from '../../oci/reference.ts'
import type { Router } from '../../registry/router.ts'
import type { StoredThing, Visibility } from '../../registry/visibility.ts'
import type { RegistryClient } from '../../upstream/registry-client.ts'
import {
  absentIfMalformed,
  parseRegistryUrl,
  type RegistryTarget,
  type RegistryUrl,
} from '../name-routing.ts'
import type { RequestLog } from '../request-log.ts'
import type { Subject } from '../request-record.ts'
import { type BlobRouteOptions, blobRoute } from './blobs.ts'
import { manifestRoute } from './manifests.ts'
import type { Answerer, TargetOf } from './question.ts'
import { referrersRoute } from './referrers.ts'
import { tagsRoute } from './tags.ts'

export interface PullRoutesOptions extends BlobRouteOptions {
  readonly router: Router<RegistryClient>
  readonly visibility: Visibility
  readonly manifests: Manifests
  readonly tagLists: TagLists
  readonly referrers: Referrers
  readonly requestLog: RequestLog
}

/** The kinds of things in a repository that are asked for. */
type RepositoryKind = Extract<RegistryTarget, { name: string }>['kind']

/** The answers to GET and HEAD below `/v2/` (distribution-spec end-1, end-2, end-3, end-8, end-12). */
export class PullRoutes {
  readonly #options: PullRoutesOptions
  readonly #routes: { readonly [Kind in RepositoryKind]: Answerer<Kind> }

  constructor(options: PullRoutesOptions) {
    this.#options = options
    this.#routes = {
      manifest: manifestRoute(options),
      blob: blobRoute(options),
      tags: tagsRoute(options),
      referrers: referrersRoute(options),
    }
  }

  /** Answers one request. Rejects with RegistryError or UpstreamError before anything was sent. */
  async handle(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const url = parseRegistryUrl(request.raw.url ?? '')
    const { target, prefix } = url
    if (prefix !== undefined && !this.#options.router.serves(prefix)) {
      reply.callNotFound()
      return
    }
    reply.header('docker-distribution-api-version', 'registry/2.0')
    reply.header('x-content-type-options', 'nosniff')
    if (target.kind === 'base') {
      reply.type('application/json; charset=utf-8').send('{}')
      return
    }
    if (target.kind === 'unknown') {
      throw new RegistryError('UNSUPPORTED', 'there is nothing at this path', { status: 404 })
    }
    const { requestLog } = this.#options
    const record = requestLog.of(request.raw, reply.raw)
    const repository = this.#repository(request, reply, url, target.name)
    requestLog.about(record, subjectOf(target, repository))
    const stored = storedThing(target)
    const { visibility } = this.#options
    await (stored ? visibility.assertReadable(repository, stored) : visibility.recall(repository))
    // Each kind's target fits its own route, which TypeScript cannot see through the union.
    const answer = this.#routes[target.kind] as Answerer<RepositoryKind>
    await answer({ request, reply, url, target, repository, record })
  }

  #repository(
    request: FastifyRequest,
    reply: FastifyReply,
    { namespace, prefix }: RegistryUrl,
    asked: string,
  ): MirroredRepository {
    const { host } = request.headers
    const repository = absentIfMalformed('NAME_UNKNOWN', () =>
      this.#options.router.route({ namespace, prefix, name: asked, host }),
    )
    if (namespace !== undefined) reply.header('oci-namespace', namespace)
    return repository
  }
}

function subjectOf(target: TargetOf<RepositoryKind>, { upstream, name }: MirroredRepository): Subject {
  const reference = 'reference' in target ? target.reference : 'digest' in target ? target.digest : undefined
  return { kind: target.kind, upstream: upstream.name, repository: name, reference }
}

/** What may be stored here under the digest that is asked for; tags and lists are asked of the upstream by themselves. */
function storedThing(target: TargetOf<RepositoryKind>): StoredThing | undefined {
  if (target.kind === 'blob') return { kind: 'blob', digest: target.digest }
  const isDigest = target.kind === 'manifest' && isDigestReference(target.reference)
  return isDigest ? { kind: 'manifest', digest: target.reference } : undefined
}
