import type { FastifyReply } from 'fastify'
import type { CacheStatus } from '../registry/repository.ts'
import { cacheHeader } from './question.ts'

/** Characters of a warning; clients take 4096 in all (distribution-spec "Warnings"). */
const maximumDoubt = 400

/**
 * Tells the client how an answer came about, how old it is, and why it may be out of date (RFC 9111 5.1, 5.5;
 * distribution-spec "Warnings").
 */
export function describeServed(
  reply: FastifyReply,
  served: {
    readonly status: CacheStatus
    /** Milliseconds since the epoch. */
    readonly checkedAt?: number | undefined
  },
  doubt: string | undefined,
): void {
  const { status, checkedAt } = served
  reply.header(cacheHeader, status)
  if (checkedAt !== undefined) reply.header('age', Math.max(0, Math.round((Date.now() - checkedAt) / 1000)))
  if (doubt === undefined) return
  // Words of an upstream may be in it, and a quotation mark would end the text.
  reply.header('warning', `299 - "${doubt.slice(0, maximumDoubt).replaceAll(/[^ !#-[\]-~]/g, '?')}"`)
}
