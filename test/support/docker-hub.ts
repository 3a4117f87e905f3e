import type { Digest } from '../../src/oci/digest.ts'
import { HubCdn } from './hub-cdn.ts'
import { HubContent } from './hub-content.ts'
import { Exchange, type HubRequest } from './hub-exchange.ts'
import {
  type Fault,
  FaultBook,
  type FaultHandle,
  type FaultMatcher,
  type Hold,
  type HubCaller,
  type HubListener,
} from './hub-faults.ts'
import { HubListenerServer, httpUrl, listenAddressOf } from './hub-listener.ts'
import { HubRegistry, sendDocument } from './hub-registry.ts'
import { blobOf, generatedBlob, type TestBlob, type TestImage, type TestIndex } from './images.ts'
import type { LineTarget, SlowLine } from './slow-line.ts'
import { TokenAuthority } from './token-authority.ts'
import { readTokenQuery } from './token-service.ts'

export type DockerHubOptions = {
  /** How the registry authenticates: Bearer tokens (as Docker Hub does, the default), Basic, or not at all. */
  readonly auth?: 'token' | 'basic' | 'none'
  /** Passwords by account name. */
  readonly accounts?: Readonly<Record<string, string>>
  /** Seconds that a token is valid for; 300 unless set. */
  readonly tokenLifetimeSeconds?: number
  /** `service` of the challenge; registry.docker.io unless set. */
  readonly service?: string
  /** `false`: the registry serves blobs itself. */
  readonly cdn?: boolean
  /** Milliseconds that a signed address at the CDN is valid for; ten minutes unless set. */
  readonly urlLifetimeMs?: number
  /** Whether HEAD of a blob is redirected to the CDN (the default, as at Docker Hub) or answered directly. */
  readonly headBlobs?: 'redirect' | 'direct'
  /** Whether the referrers API is there; it is not unless set. */
  readonly referrers?: boolean
  /** Manifest GETs allowed to each account, and to anonymous clients; without it no rate-limit headers are sent. */
  readonly quota?: number
  /** What a repository that does not exist answers: 401 as Docker Hub does (the default), or 404. */
  readonly unknownRepository?: 'denied' | 'unknown'
  /**
   * Host names or IP addresses of the listeners, as written in URLs; 127.0.0.1 unless set. An IP address is
   * listened on, a name stands for 127.0.0.1.
   */
  readonly hosts?: Partial<Readonly<Record<HubListener, string>>>
  /** Puts all three listeners behind a slow line; every URL then names 127.0.0.1 and a port of the line. */
  readonly line?: SlowLine
  /** Puts something else in front of each listener, and tells the URL by which clients reach it; wins over `line`. */
  readonly front?: (listener: HubListener, target: LineTarget) => Promise<string>
}

/** Selects recorded requests; a field that is left out matches everything. */
export type RequestFilter = {
  readonly listener?: HubListener
  readonly method?: string
  /** Tested against path and query. */
  readonly path?: RegExp
  readonly status?: number
  readonly digest?: string
  readonly caller?: HubCaller
}

type Parts = {
  readonly servers: Readonly<Record<HubListener, HubListenerServer>>
  readonly urls: Readonly<Record<HubListener, string>>
  readonly content: HubContent
  readonly tokens: TokenAuthority
  readonly cdn: HubCdn
  readonly registry: HubRegistry
  readonly faults: FaultBook
  readonly sent: Map<string, number>
  readonly requests: HubRequest[]
}

const listeners: readonly HubListener[] = ['registry', 'token', 'cdn']

/**
 * A look-alike of Docker Hub: a registry, a token service and a CDN, each with its own port. It counts what it
 * is asked for and breaks in the ways that it is told to. Its owner disposes of it.
 */
export class DockerHub implements AsyncDisposable {
  readonly #parts: Parts

  private constructor(parts: Parts) {
    this.#parts = parts
  }

  /** See `startDockerHub`. */
  static async start(options: DockerHubOptions): Promise<DockerHub> {
    const content = new HubContent()
    const faults = new FaultBook()
    const sent = new Map<string, number>()
    const requests: HubRequest[] = []
    const onSent = (digest: Digest, bytes: number) => void sent.set(digest, (sent.get(digest) ?? 0) + bytes)
    const service = options.service ?? 'registry.docker.io'
    const unknownRepository = options.unknownRepository ?? 'denied'
    const tokens = new TokenAuthority({
      issuer: 'auth.docker.io',
      service,
      accounts: options.accounts ?? {},
      expiresInSeconds: options.tokenLifetimeSeconds ?? 300,
      authorize(account, { type, name, actions }) {
        const may = content.has(name) ? content.mayPull(name, account) : unknownRepository === 'unknown'
        return type === 'repository' && may ? actions.filter((action) => action === 'pull') : []
      },
    })
    const cdn = new HubCdn(content, options.urlLifetimeMs ?? 600_000, onSent)
    const registry = new HubRegistry({
      auth: options.auth ?? 'token',
      service,
      unknownRepository,
      content,
      tokens,
      realm: () => `${urls.token}/token`,
      redirect: options.cdn === false ? undefined : (blob) => `${urls.cdn}${cdn.sign(blob)}`,
      headBlobs: options.headBlobs ?? 'redirect',
      referrers: options.referrers ?? false,
      quota: options.quota,
      onSent,
    })
    const handlers: Record<HubListener, (exchange: Exchange) => Promise<void>> = {
      registry: (exchange) => registry.handle(exchange),
      cdn: (exchange) => cdn.handle(exchange),
      token: (exchange) => answerTokenRequest(exchange, tokens),
    }
    const open = async (listener: HubListener) => {
      const host = options.hosts?.[listener] ?? '127.0.0.1'
      const server = await HubListenerServer.open(listenAddressOf(host), (request, response) =>
        handle(
          new Exchange(listener, request, response, faults, headersOf(listener)),
          requests,
          handlers[listener],
        ),
      )
      const target = { host: server.address, port: server.port }
      if (options.front) return { listener, server, url: await options.front(listener, target) }
      const reached = await options.line?.forward(target)
      return { listener, server, url: httpUrl(reached ? reached.host : host, (reached ?? target).port) }
    }
    const opened = await Promise.all(listeners.map(open))
    const servers = recordOf(opened.map(({ listener, server }) => [listener, server]))
    const urls = recordOf(opened.map(({ listener, url }) => [listener, url]))
    return new DockerHub({ servers, urls, content, tokens, cdn, registry, faults, sent, requests })
  }

  /** The registry's base, without a slash at the end. */
  get url(): string {
    return this.#parts.urls.registry
  }

  /** Host and port of the registry. */
  get host(): string {
    return new URL(this.url).host
  }

  get tokenUrl(): string {
    return this.#parts.urls.token
  }

  get cdnUrl(): string {
    return this.#parts.urls.cdn
  }

  /** Every request since the start or the last `reset`, in order of arrival. */
  get requests(): readonly HubRequest[] {
    return this.#parts.requests
  }

  /** How many tokens were issued since the start or the last `reset`. */
  get tokensIssued(): number {
    return this.#parts.tokens.issued
  }

  /** Adds an image or an index with all that it refers to; creates the repository. Returns its digest. */
  addImage(repository: string, tag: string | undefined, image: TestImage | TestIndex): Digest {
    this.#parts.content.addImage(repository, tag, image)
    return image.manifest.digest
  }

  /** Adds a manifest as it is, right or wrong. */
  addManifest(repository: string, manifest: TestBlob, tag?: string): Digest {
    const target = this.#parts.content.repository(repository)
    target.manifests.set(manifest.digest, manifest)
    if (tag !== undefined) target.tags.set(tag, manifest.digest)
    return manifest.digest
  }

  /** Adds a blob to a repository, which it creates. */
  addBlob(repository: string, content: Uint8Array | TestBlob): TestBlob {
    const blob = content instanceof Uint8Array ? blobOf(content) : content
    this.#parts.content.repository(repository).blobs.set(blob.digest, blob)
    return blob
  }

  /** Adds a blob of any size that is never held in memory. `size` in bytes. */
  async addGeneratedBlob(
    repository: string,
    options: { size: number; seed: string | number },
  ): Promise<TestBlob> {
    return this.addBlob(repository, await generatedBlob(options))
  }

  /** Removes a blob or a manifest from a repository; tags that point to it stay, and dangle. */
  remove(repository: string, digest: string): void {
    const target = this.#parts.content.repository(repository)
    target.blobs.delete(digest)
    target.manifests.delete(digest)
  }

  /** Points a tag to a manifest. */
  tag(repository: string, tag: string, digest: string): void {
    this.#parts.content.repository(repository).tags.set(tag, digest)
  }

  removeTag(repository: string, tag: string): void {
    this.#parts.content.repository(repository).tags.delete(tag)
  }

  /** Restricts a repository to some accounts, or to any. Tokens issued before stay valid, as at Docker Hub. */
  setPrivate(repository: string, accounts?: readonly string[]): void {
    this.#parts.content.repository(repository).readers = accounts ? new Set(accounts) : 'any account'
  }

  setPublic(repository: string): void {
    this.#parts.content.repository(repository).readers = undefined
  }

  /** Makes this many manifest pulls remain, for an account or for anonymous clients; `quota` must be set. */
  setRemaining(remaining: number, account?: string): void {
    this.#parts.registry.setRemaining(remaining, account)
  }

  /** How many requests match. */
  count(filter: RequestFilter = {}): number {
    return this.find(filter).length
  }

  /** The requests that match. */
  find(filter: RequestFilter): readonly HubRequest[] {
    return this.#parts.requests.filter(
      (request) =>
        (filter.listener ?? request.listener) === request.listener &&
        (filter.method ?? request.method) === request.method &&
        (filter.status ?? request.status) === request.status &&
        (filter.digest ?? request.digest) === request.digest &&
        (filter.caller ?? request.caller) === request.caller &&
        (filter.path === undefined || filter.path.test(request.url)),
    )
  }

  /**
   * Body bytes of manifests and blobs handed to the kernel: of one digest, or of all. After a client has gone
   * away, up to 256 KiB of what it has not received may be counted; a cut by a fault is counted exactly.
   */
  bytesSent(digest?: string): number {
    if (digest !== undefined) return this.#parts.sent.get(digest) ?? 0
    return [...this.#parts.sent.values()].reduce((sum, bytes) => sum + bytes, 0)
  }

  /** Forgets requests and counts; content, faults and tokens stay. */
  reset(): void {
    this.#parts.requests.length = 0
    this.#parts.sent.clear()
    this.#parts.tokens.resetCount()
  }

  /** Breaks the next `times` matching responses, or all until the fault is removed; by several faults one response each. */
  fault(
    matcher: FaultMatcher,
    faults: Fault | readonly Fault[],
    options: { times?: number } = {},
  ): FaultHandle {
    return this.#parts.faults.add(matcher, faults, options.times)
  }

  /** Makes matching responses wait: at an offset in bytes of their content, or before their headers. */
  hold(matcher: FaultMatcher, offset?: number): Hold {
    return this.#parts.faults.addGate(matcher, offset)
  }

  /** Removes all faults and opens all gates. */
  clearFaults(): void {
    this.#parts.faults.clear()
  }

  /** Makes all tokens issued so far worthless. */
  expireTokens(): void {
    this.#parts.tokens.revokeAll()
  }

  /** Makes all addresses at the CDN given out so far worthless. */
  expireUrls(): void {
    this.#parts.cdn.revokeAll()
  }

  /** Is gone: resets all connections and refuses new ones. */
  async stop(): Promise<void> {
    await Promise.all(listeners.map((listener) => this.#parts.servers[listener].stop()))
  }

  /** Is back, at the same ports, with the same content. */
  async start(): Promise<void> {
    await Promise.all(listeners.map((listener) => this.#parts.servers[listener].start()))
  }

  async close(): Promise<void> {
    this.#parts.faults.clear()
    await this.stop()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

/** Starts a look-alike of Docker Hub on free local ports. */
export function startDockerHub(options: DockerHubOptions = {}): Promise<DockerHub> {
  return DockerHub.start(options)
}

async function handle(
  exchange: Exchange,
  requests: HubRequest[],
  handler: (exchange: Exchange) => Promise<void>,
): Promise<void> {
  requests.push(exchange.record)
  try {
    if (await exchange.admit()) await handler(exchange)
  } catch (error) {
    if (exchange.response.destroyed) return
    // A defect of the look-alike has to show up in the test, not hang it.
    exchange.response.destroy()
    throw error
  }
}

async function answerTokenRequest(exchange: Exchange, tokens: TokenAuthority): Promise<void> {
  if (!exchange.record.url.startsWith('/token')) return exchange.send(404, {}, 'not found')
  const answer = tokens.answer(await readTokenQuery(exchange.request), exchange.record.headers.authorization)
  if (answer.status === 200) {
    return sendDocument(exchange, { 'Content-Type': 'application/json' }, answer.document)
  }
  exchange.sendJson(answer.status, answer.document, { 'WWW-Authenticate': answer.challenge })
}

function headersOf(listener: HubListener): Record<string, string> {
  return listener === 'registry' ? { 'Docker-Distribution-API-Version': 'registry/2.0' } : {}
}

function recordOf<Value>(entries: readonly (readonly [HubListener, Value])[]): Record<HubListener, Value> {
  return Object.fromEntries(entries) as Record<HubListener, Value>
}
