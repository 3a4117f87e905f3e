import type { Digest } from '../../src/oci/digest.ts'
import { blobHeaders } from './hub-cdn.ts'
import type { HubContent } from './hub-content.ts'
import type { Exchange } from './hub-exchange.ts'
import { blobOf, descriptorOf, mediaTypes, type TestBlob } from './images.ts'
import { basicCredentials, type TokenAuthority } from './token-authority.ts'

export type HubRegistryOptions = {
  readonly auth: 'token' | 'basic' | 'none'
  readonly service: string
  /** What a repository that does not exist answers: 401 as Docker Hub does, or 404. */
  readonly unknownRepository: 'denied' | 'unknown'
  readonly content: HubContent
  readonly tokens: TokenAuthority
  /** The realm of the challenges. */
  readonly realm: () => string
  /** The address to redirect a blob to; undefined where blobs are served directly. */
  readonly redirect: ((blob: TestBlob) => string) | undefined
  readonly headBlobs: 'redirect' | 'direct'
  readonly referrers: boolean
  /** Manifest pulls allowed in each window, for each account and for anonymous clients. */
  readonly quota: number | undefined
  readonly onSent: (digest: Digest, bytes: number) => void
}

type Caller = { readonly account: string | undefined }

const json = { 'Content-Type': 'application/json' }
const quotaWindow = 'w=21600'
const quotaMessage =
  'You have reached your pull rate limit. You may increase the limit by authenticating and upgrading: https://www.docker.com/increase-rate-limits'

/** The API of a look-alike (`/v2/`): pulls only. */
export class HubRegistry {
  readonly #options: HubRegistryOptions
  readonly #pulls = new Map<string, number>()

  constructor(options: HubRegistryOptions) {
    this.#options = options
  }

  /** Makes this many pulls remain for an account, or for anonymous clients. */
  setRemaining(remaining: number, account = ''): void {
    this.#pulls.set(account, (this.#options.quota ?? 0) - remaining)
  }

  /** As index.docker.io answers `docker search`: its official images without library/. */
  #search(asked: URLSearchParams): unknown {
    const [query, n] = [asked.get('q') ?? '', Number(asked.get('n') ?? 25)]
    const results = this.#options.content
      .names()
      .filter((name) => name.includes(query))
      .slice(0, n)
      .map((name) => ({
        name: name.replace(/^library\//, ''),
        description: `All about ${name}`,
        star_count: 7,
        is_official: name.startsWith('library/'),
        is_automated: false,
        is_trusted: false,
      }))
    return { num_pages: 1, num_results: results.length, page: 1, page_size: n, query, results }
  }

  async handle(exchange: Exchange): Promise<void> {
    const url = new URL(exchange.record.url, 'http://registry')
    const path = url.pathname
    const [, name, kind, reference = ''] =
      /^\/v2\/(.+?)\/(manifests|blobs|referrers)\/([^/]+)$/.exec(path) ??
      /^\/v2\/(.+?)\/(tags)\/list$/.exec(path) ??
      []
    if (path === '/v1/search') return exchange.sendJson(200, this.#search(url.searchParams))
    const caller = this.#authenticate(exchange, name)
    if (caller === undefined) return
    if (path === '/v2/' || path === '/v2') return exchange.sendJson(200, {})
    if (exchange.record.method !== 'GET' && exchange.record.method !== 'HEAD') {
      return exchange.sendError(405, 'UNSUPPORTED', 'The operation is unsupported.')
    }
    if (name === undefined)
      return exchange.send(404, { 'Content-Type': 'text/plain' }, '404 page not found\n')
    if (!this.#options.content.has(name)) {
      return exchange.sendError(404, 'NAME_UNKNOWN', 'repository name not known to registry')
    }
    if (kind === 'manifests') return this.#manifest(exchange, name, reference, caller)
    if (kind === 'blobs') return this.#blob(exchange, name, reference)
    if (kind === 'tags') return this.#tags(exchange, name, url.searchParams)
    return this.#referrers(exchange, name, reference)
  }

  /** The caller, or undefined after a challenge. */
  #authenticate(exchange: Exchange, name: string | undefined): Caller | undefined {
    const { auth, content, tokens } = this.#options
    const { authorization } = exchange.record.headers
    if (auth === 'none') return { account: undefined }
    if (auth === 'basic') {
      const login = basicCredentials(authorization)
      const known = login !== undefined && tokens.isAccount(login)
      if (known && (name === undefined || !content.has(name) || content.mayPull(name, login.name))) {
        return { account: login.name }
      }
      return this.#challenge(exchange, 'Basic realm="Registry"')
    }
    const token = tokens.find(authorization)
    const granted =
      name === undefined ||
      token?.access.some((entry) => entry.name === name && entry.actions.includes('pull'))
    if (token !== undefined && granted) return token
    const scope = name === undefined ? '' : `,scope="repository:${name}:pull"`
    const error = token === undefined ? 'invalid_token' : 'insufficient_scope'
    return this.#challenge(
      exchange,
      `Bearer realm="${this.#options.realm()}",service="${this.#options.service}"${scope}${
        authorization === undefined ? '' : `,error="${error}"`
      }`,
    )
  }

  #challenge(exchange: Exchange, challenge: string): undefined {
    exchange.sendError(401, 'UNAUTHORIZED', 'authentication required', { 'WWW-Authenticate': challenge })
  }

  async #manifest(exchange: Exchange, name: string, reference: string, caller: Caller): Promise<void> {
    const blob = this.#options.content.manifest(name, reference)
    const account = caller.account ?? ''
    const { quota } = this.#options
    const used = this.#pulls.get(account) ?? 0
    const counts = exchange.record.method === 'GET' && blob !== undefined
    if (quota !== undefined && counts && used >= quota) {
      const headers = {
        'ratelimit-limit': `${quota};${quotaWindow}`,
        'ratelimit-remaining': `0;${quotaWindow}`,
      }
      return exchange.sendError(429, 'TOOMANYREQUESTS', quotaMessage, headers)
    }
    if (counts) this.#pulls.set(account, used + 1)
    if (blob === undefined) return exchange.sendError(404, 'MANIFEST_UNKNOWN', 'manifest unknown')
    if (!accepts(exchange.record.headers.accept, blob.mediaType)) {
      const message = `manifest is ${blob.mediaType}, but the accept header does not support it`
      return exchange.sendError(404, 'MANIFEST_UNKNOWN', message)
    }
    const remaining = Math.max(0, (quota ?? 0) - used - (counts ? 1 : 0))
    const headers = {
      'Content-Type': blob.mediaType,
      'Docker-Content-Digest': blob.digest,
      ETag: `"${blob.digest}"`,
      ...(quota !== undefined && {
        'ratelimit-limit': `${quota};${quotaWindow}`,
        'ratelimit-remaining': `${remaining};${quotaWindow}`,
        'docker-ratelimit-source': account || '127.0.0.1',
      }),
    }
    await exchange.sendContent({ blob, headers, ranges: false, onSent: this.#options.onSent })
  }

  async #blob(exchange: Exchange, name: string, digest: string): Promise<void> {
    const { content, redirect, headBlobs, onSent } = this.#options
    const blob = content.blob(name, digest)
    if (blob === undefined) return exchange.sendError(404, 'BLOB_UNKNOWN', 'blob unknown to registry')
    if (redirect !== undefined && (exchange.record.method === 'GET' || headBlobs === 'redirect')) {
      const location = redirect(blob)
      exchange.send(
        307,
        { Location: location, 'Content-Type': 'text/html; charset=utf-8' },
        `<a href="${location.replaceAll('&', '&amp;')}">Temporary Redirect</a>.\n\n`,
      )
      return
    }
    const headers = { ...blobHeaders(blob), 'Docker-Content-Digest': blob.digest }
    await exchange.sendContent({ blob, headers, ranges: true, onSent })
  }

  /** One page of tags, with a Link to the next (distribution-spec, end-8b). */
  async #tags(exchange: Exchange, name: string, query: URLSearchParams): Promise<void> {
    const { content } = this.#options
    const last = query.get('last') ?? ''
    const rest = content.tags(name).filter((tag) => tag > last)
    const count = query.has('n') ? Number(query.get('n')) : rest.length
    if (!Number.isInteger(count) || count < 0) {
      return exchange.sendError(400, 'PAGINATION_NUMBER_INVALID', 'invalid number of results requested')
    }
    const tags = rest.slice(0, count)
    const more = tags.length > 0 && tags.length < rest.length
    const next = new URLSearchParams({ last: tags.at(-1) ?? '', n: String(count) })
    const headers = { ...json, ...(more && { Link: `</v2/${name}/tags/list?${next}>; rel="next"` }) }
    await sendDocument(exchange, headers, { name, tags })
  }

  /** The referrers of a manifest (distribution-spec, end-12); Docker Hub's older self answers 404. */
  async #referrers(exchange: Exchange, name: string, digest: string): Promise<void> {
    if (!this.#options.referrers)
      return exchange.send(404, { 'Content-Type': 'text/plain' }, '404 page not found\n')
    const manifests = this.#options.content.referrers(name, digest).map(({ manifest, document }) => ({
      ...descriptorOf(manifest),
      artifactType: document.artifactType ?? document.config?.mediaType,
      annotations: document.annotations,
    }))
    const index = { schemaVersion: 2, mediaType: mediaTypes.oci.index, manifests }
    await sendDocument(exchange, { 'Content-Type': mediaTypes.oci.index }, index)
  }
}

/** Sends a JSON document as content, so that faults on content apply; it is not counted as such. */
export async function sendDocument(
  exchange: Exchange,
  headers: Record<string, string>,
  document: object,
): Promise<void> {
  const blob = blobOf(Buffer.from(JSON.stringify(document)))
  await exchange.sendContent({ blob, headers, ranges: false, onSent: () => undefined })
}

function accepts(header: string | undefined, mediaType: string): boolean {
  const types = (header ?? '*/*').split(',').map((type) => type.split(';')[0]?.trim() ?? '')
  return types.some((type) => type === mediaType || type === '*/*' || type === 'application/*')
}
