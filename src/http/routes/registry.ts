import type { FastifyReply } from 'fastify'
import type { Action } from '../../access/policy.ts'
import type { Digest } from '../../oci/digest.ts'
import { RegistryError } from '../../oci/error.ts'
import { isDigestReference } from '../../oci/reference.ts'
import type { Repository } from '../../registry/repository.ts'
import { localOrigin } from '../../storage/repository-key.ts'
import type { Asker, Authorizer } from '../authorize.ts'
import {
  asAbsent,
  type RegistryTarget,
  type RegistryUrl,
  type RepositoryKind,
  type TargetOf,
} from '../registry-url.ts'
import type { RequestContext, Subject } from '../request-context.ts'
import type { RequestLog } from '../request-log.ts'
import { type AnyRoute, RouteTable } from '../routing.ts'
import { baseRoutes } from './base.ts'
import { type BlobRoutesOptions, blobRoutes } from './blobs.ts'
import { type CatalogRoutesOptions, catalogRoutes } from './catalog.ts'
import { type ManifestRoutesOptions, manifestRoutes } from './manifests.ts'
import { referrerRoutes } from './referrers.ts'
import { type SearchRoutesOptions, searchRoutes } from './search.ts'
import { tagRoutes } from './tags.ts'
import { uploadRoutes } from './uploads.ts'

/** Tells which repository a request means. */
interface RepositoryFinder {
  /** Whether an upstream goes by this name. */
  serves(name: string): boolean
  /** The names that can be pushed, as patterns. */
  readonly pushable: readonly string[]
  /** `isPushing`: it is part of a push. `mayPush`: whoever asks may push, and may be about to. Throws RegistryError NAME_INVALID (400) and NAME_UNKNOWN (404). */
  find(asked: {
    readonly namespace: string | undefined
    readonly prefix: string | undefined
    readonly name: string
    readonly host: string | undefined
    readonly digest: Digest | undefined
    readonly isPushing: boolean
    readonly mayPush: boolean
  }): Promise<Repository>
}

export interface RegistryRoutesOptions extends BlobRoutesOptions, ManifestRoutesOptions {
  readonly repositories: RepositoryFinder &
    CatalogRoutesOptions['repositories'] &
    SearchRoutesOptions['repositories']
  readonly authorizer: Authorizer
  /** Whether anything can be deleted (`local.delete`). */
  readonly isDeletable: boolean
  readonly requestLog: RequestLog
}

/** Everything below `/v2/`: the table of routes, and the one way to each of them. */
export class RegistryRoutes {
  readonly #options: RegistryRoutesOptions
  readonly #table: RouteTable

  constructor(options: RegistryRoutesOptions) {
    this.#options = options
    this.#table = new RouteTable([
      ...baseRoutes(options),
      ...manifestRoutes(options),
      ...blobRoutes(options),
      ...uploadRoutes,
      ...tagRoutes(options),
      ...referrerRoutes(options),
      ...catalogRoutes(options),
      ...searchRoutes(options),
    ])
  }

  /** All that can be asked, and what that lets somebody do. */
  get all(): readonly AnyRoute[] {
    return this.#table.all
  }

  /** Answers one request. Rejects with RegistryError, UpstreamError or StorageError before anything was sent. */
  async handle(context: RequestContext, reply: FastifyReply): Promise<void> {
    const { method, kind } = context
    const { repositories, requestLog, authorizer, isDeletable } = this.#options
    if (!this.#table.knows(method)) throw this.#table.refusal(kind, method)
    const url = urlOf(context)
    if (url.prefix !== undefined && !repositories.serves(url.prefix)) {
      reply.callNotFound()
      return
    }
    const { target } = url
    const { action, answer } = this.#table.find(target.kind, method)
    if (action === 'delete' && !isDeletable) throw this.#table.refusal(target.kind, method)
    const asker = await authorizer.admit(context, action, isInRepository(target) ? target.name : undefined)
    const repository = isInRepository(target)
      ? await this.#find(context, url, target, action, asker)
      : undefined
    if (url.namespace !== undefined) reply.header('oci-namespace', url.namespace)
    if (repository && isInRepository(target)) {
      const note = isPusher(context, target, asker) ? this.#noteToPusher(target.name, repository) : undefined
      requestLog.about(context, { ...subjectOf(target, repository), note })
    }
    // The table found it by the target's kind, which TypeScript cannot see through the union.
    await (answer as (question: unknown) => Promise<void>)({
      context,
      reply,
      url,
      target,
      repository,
      asker,
    })
  }

  async #find(
    context: RequestContext,
    url: RegistryUrl,
    target: TargetOf<RepositoryKind>,
    action: Action,
    asker: Asker,
  ): Promise<Repository> {
    const { repositories } = this.#options
    const asked = askedBy(context, url, target, action, asker)
    const repository = await repositories.find(asked).catch((error: unknown) => {
      throw isReading(context) ? asAbsent('NAME_UNKNOWN', error) : error
    })
    if (action === 'push' && !repository.push)
      throw new RegistryError('DENIED', notPushable(target.name, repository, repositories.pushable))
    return repository
  }

  /** Whoever pushes asks what is there first, and many give up when they hear that the upstream does not answer. */
  #noteToPusher(name: string, repository: Repository): string | undefined {
    const { pushable } = this.#options.repositories
    return repository.push ? undefined : `if this is a push, ${notPushable(name, repository, pushable)}`
  }
}

/** Throws as `RequestContext.url`. To whoever writes, a name or tag that nothing can have is a mistake (400). */
function urlOf(context: RequestContext): RegistryUrl {
  try {
    return context.url
  } catch (error) {
    const mistake = error instanceof Error ? error.cause : undefined
    throw isReading(context) || !(mistake instanceof RegistryError) ? error : mistake
  }
}

function isReading({ method }: RequestContext): boolean {
  return method === 'GET' || method === 'HEAD'
}

/** `name`: as the client wrote it, with what names an upstream. */
function notPushable(name: string, { upstream }: Repository, pushable: readonly string[]): string {
  const why =
    upstream === undefined ? 'not any more: push' : `which is mirrored from ${upstream}: push there, or here`
  const names = pushable.length === 0 ? 'nothing' : pushable.join(', ')
  return `nothing can be pushed to ${name}, ${why} under a name that belongs to this mirror alone (${names}: local.repositories in mirror.yml)`
}

function isInRepository(target: RegistryTarget): target is TargetOf<RepositoryKind> {
  return 'name' in target
}

/**
 * Whether a blob is here is asked by whoever pushes, and by nobody who pulls. It has to be answered for the repository
 * that is pushed to, although nothing may be in it yet: the upstream's word would make the client leave the blob out.
 */
function askedBy(
  context: RequestContext,
  { namespace, prefix }: RegistryUrl,
  target: TargetOf<RepositoryKind>,
  action: Action,
  asker: Asker,
): Parameters<RepositoryFinder['find']>[0] {
  const mayPush = isPusher(context, target, asker)
  return {
    namespace,
    prefix,
    name: target.name,
    host: context.host,
    digest: digestOf(target),
    isPushing: action === 'push' || (mayPush && target.kind === 'blob'),
    mayPush,
  }
}

/** Whether somebody may be about to push: by HEAD clients ask what need not be pushed. */
function isPusher({ method }: RequestContext, { name }: TargetOf<RepositoryKind>, asker: Asker): boolean {
  return method === 'HEAD' && asker.might('push', name)
}

function digestOf(target: TargetOf<RepositoryKind>): Digest | undefined {
  if ('digest' in target) return target.digest
  return target.kind === 'manifest' && isDigestReference(target.reference) ? target.reference : undefined
}

function subjectOf(target: TargetOf<RepositoryKind>, { upstream, name }: Repository): Subject {
  const reference = 'reference' in target ? target.reference : digestOf(target)
  return { kind: target.kind, upstream: upstream ?? localOrigin, repository: name, reference }
}
