import type { Background } from '../flow/slots.ts'
import type { RepositoryName } from '../oci/repository-name.ts'
import type { TransportResponse } from './connections/exchange.ts'
import type { UpstreamError } from './error.ts'

/** As whom an upstream is asked, and so for whom its answer is evidence: everybody, or the operator's account. */
export type Asker = 'anyone' | 'account'

/** For whom something is asked. */
export interface Asking {
  /** Aborts when nobody waits for the answer any more. */
  readonly signal?: AbortSignal | undefined
  /** The client; turns are shared out by it. Undefined: the mirror itself. */
  readonly client?: string | undefined
  /** For what it is where nobody waits for the answer: it comes behind people, and leaves them the last pulls of a quota. */
  readonly background?: Background | undefined
  /** Waits until an answer that turns out to be large may come to its end; from then on it returns at once. */
  readonly onLarge?: (() => Promise<void>) | undefined
}

/** A question about a repository: `path` lies below its name, such as `manifests/latest`. */
export interface Question extends Asking {
  readonly method: 'GET' | 'HEAD'
  readonly repository: RepositoryName
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  /** Waits until so many bytes of the body may come. */
  readonly pace?: ((bytes: number) => Promise<void>) | undefined
  /** Whether the body is to be read by `lent`. */
  readonly isLent?: boolean
  /** Whether a redirect to where the bytes are is answer enough and comes back as it is. */
  readonly keepRedirect?: boolean
  /** For how long it waits for an upstream that has just gone, and since when it is wanted (monotonic milliseconds). */
  readonly patience?: { readonly since: number; readonly forMs: number }
  /** Anyone, unless it says otherwise. Without an account, or while it is refused, that is anyone, too. */
  readonly as?: Asker
  /** Called when the upstream sends us on: it is there, whatever comes of the question. */
  readonly onRedirect?: () => void
  /** Called with where the bytes are when it sends us to storage, on another host. The address is signed: it is a secret. */
  readonly onStorage?: ((url: URL) => void) | undefined
}

export interface Answer extends TransportResponse {
  /** As whom the question was asked after all. */
  readonly as: Asker
  /** Of a 429 whose meaning is known: the failure that it is. */
  readonly limit?: UpstreamError
}

/**
 * One link of the way to an upstream: it asks the next one, and adds one thing to that. Throws UpstreamError, or the
 * reason of the question's signal.
 */
export interface Link {
  request(question: Question): Promise<Answer>
}

type Asked = Pick<Question, 'method' | 'path'>

export function isOfManifest({ path }: Pick<Asked, 'path'>): boolean {
  return path.startsWith('manifests/')
}

/** Whether Docker Hub counts it as a pull. */
export function countsAsPull(question: Asked): boolean {
  return question.method === 'GET' && isOfManifest(question)
}

/** Where something of the API lies, of a registry at `base`, whose own path is kept. */
export function apiUrl(base: URL, path: string): URL {
  return new URL(`${base.pathname.replace(/\/$/, '')}/v2/${path}`, base)
}
