import type { FastifyReply, FastifyRequest } from 'fastify'
import type { MirroredRepository } from '../../mirror/manifests.ts'
import type { RegistryTarget, RegistryUrl } from '../name-routing.ts'
import type { RequestRecord } from '../request-record.ts'

/** What a URL of this kind names, such as the digest of a blob. */
export type TargetOf<Kind extends RegistryTarget['kind']> = Extract<RegistryTarget, { kind: Kind }>

/** A GET or HEAD about something in a repository. */
export interface Question<Target> {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly url: RegistryUrl
  readonly target: Target
  readonly repository: MirroredRepository
  readonly record: RequestRecord
}

/**
 * Answers a question about one kind of thing. Rejects with RegistryError or UpstreamError before anything was
 * sent.
 */
export type Answerer<Kind extends RegistryTarget['kind']> = (
  question: Question<TargetOf<Kind>>,
) => Promise<void>

/** Tells how an answer came about: hit, joined, miss, revalidated or stale. */
export const cacheHeader = 'x-larder-cache'
