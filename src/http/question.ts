import type { FastifyReply } from 'fastify'
import type { Repository } from '../registry/repository.ts'
import type { Asker } from './authorize.ts'
import type { RegistryUrl, RepositoryKind, TargetOf } from './registry-url.ts'
import type { RequestContext } from './request-context.ts'

/** The kinds of things that something can be asked of. */
export type Kind = RepositoryKind | 'base' | 'catalog' | 'ping' | 'search'

/** A request about one kind of thing. */
export interface Question<Asked extends Kind> {
  readonly context: RequestContext
  readonly reply: FastifyReply
  readonly url: RegistryUrl
  readonly target: TargetOf<Asked>
  /** Undefined for what is in none. */
  readonly repository: Asked extends RepositoryKind ? Repository : undefined
  /** Who asks, and what else whoever asks may do: read what it names beside, see what is in a list. */
  readonly asker: Asker
}

/** Tells how an answer came about: hit, joined, miss, revalidated or stale. */
export const cacheHeader = 'x-larder-cache'
