import { type Digest, isDigest } from '../oci/digest.ts'
import type { TransportResponse } from './connections/exchange.ts'

type Answer = Pick<TransportResponse, 'headers'>

/** Docker-Content-Digest, if it is a digest at all. */
export function claimedDigest(answer: Answer): Digest | undefined {
  const claimed = headerOf(answer, 'docker-content-digest')
  return claimed !== undefined && isDigest(claimed) ? claimed : undefined
}

/** Content-Length in bytes. */
export function contentLength(answer: Answer): number | undefined {
  const length = headerOf(answer, 'content-length')
  return length !== undefined && /^\d{1,15}$/.test(length) ? Number(length) : undefined
}

/** A header by its lower-case name; several of that name as one. */
export function headerOf({ headers }: Answer, name: string): string | undefined {
  const value = headers[name]
  return Array.isArray(value) ? value.join(', ') : value
}
