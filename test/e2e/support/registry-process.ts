import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ChildServer } from '../../support/child-process.ts'
import type { TestBlob, TestImage, TestIndex } from '../../support/images.ts'
import { startTokenService, type TokenService } from '../../support/token-service.ts'
import { scratchFolder } from './scratch-folder.ts'

const service = 'registry.test'
const issuer = 'token.test'
const publisher = { name: 'publisher', password: 'larder' }

/** Debian's registry in a process of its own. Dispose to stop it and to remove its content. */
export type RegistryProcess = AsyncDisposable & {
  /** Without a slash at the end. */
  readonly url: string
  /** Requests for manifests and blobs that it has answered, whatever the answer, as its own log tells. */
  readonly contentRequests: number
  push(repository: string, tag: string, image: TestImage | TestIndex): Promise<void>
  stop(): Promise<void>
}

/** What `startRegistry` needs of the machine. */
export const registryPrograms = ['docker-registry', 'openssl'] as const

/**
 * Starts Debian's registry on a free port. With `auth: 'token'` it wants tokens for pulls too, which anybody gets,
 * as at Docker Hub; only the account of the test may push.
 */
export async function startRegistry({ auth }: { auth: 'token' | 'none' }): Promise<RegistryProcess> {
  await using building = new AsyncDisposableStack()
  const { path: folder } = building.use(await scratchFolder())
  const tokens = auth === 'none' ? undefined : building.use(await startPublisherTokens())
  const config = join(folder, 'config.yml')
  await writeFile(config, JSON.stringify(await configuration(folder, tokens)))
  const server = building.use(ChildServer.start('docker-registry', ['serve', config]))
  const listening = /listening on (127\.0\.0\.1:\d+)/
  await server.ready(() => listening.test(server.stderr), 'listens')
  const url = `http://${listening.exec(server.stderr)?.[1]}`
  const parts = building.move()
  return {
    url,
    get contentRequests() {
      return server.stdout.match(/"(?:GET|HEAD) \/v2\/\S+\/(?:manifests|blobs)\//g)?.length ?? 0
    },
    async push(repository, tag, image) {
      const authorization = tokens && (await publisherToken(tokens.url, repository))
      const headers = authorization === undefined ? {} : { authorization }
      await pushImage({ base: `${url}/v2/${repository}`, headers }, tag, image)
    },
    async stop() {
      await server.end('SIGTERM')
    },
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  }
}

async function configuration(folder: string, tokens: TokenService | undefined): Promise<object> {
  const common = {
    version: '0.1',
    log: { level: 'info' },
    storage: { filesystem: { rootdirectory: join(folder, 'storage') } },
    http: { addr: '127.0.0.1:0' },
  }
  if (tokens === undefined) return common
  const certificate = join(folder, 'token.pem')
  await writeFile(certificate, await tokens.certificatePem())
  return { ...common, auth: { token: { realm: tokens.url, service, issuer, rootcertbundle: certificate } } }
}

function startPublisherTokens(): Promise<TokenService> {
  return startTokenService({
    issuer,
    service,
    accounts: { [publisher.name]: publisher.password },
    authorize: (account, { actions }) =>
      account === publisher.name ? actions : actions.filter((action) => action === 'pull'),
  })
}

async function publisherToken(url: string, repository: string): Promise<string> {
  const scope = `repository:${repository}:pull,push`
  const login = Buffer.from(`${publisher.name}:${publisher.password}`).toString('base64')
  const answer = await fetch(`${url}?${new URLSearchParams({ service, scope })}`, {
    headers: { authorization: `Basic ${login}` },
  })
  return `Bearer ${((await answer.json()) as { token: string }).token}`
}

type Target = { readonly base: string; readonly headers: Readonly<Record<string, string>> }

async function pushImage(target: Target, tag: string, image: TestImage | TestIndex): Promise<void> {
  if ('images' in image) {
    for (const part of image.images) await pushImage(target, part.manifest.digest, part)
  } else {
    for (const blob of [image.config, ...image.layers]) await pushBlob(target, blob)
  }
  const { bytes, mediaType } = image.manifest
  await send(target, 'PUT', `${target.base}/manifests/${tag}`, { type: mediaType, body: bytes })
}

/** A whole blob in one request after the one that opens the session (distribution-spec end-4a, end-6). */
async function pushBlob(target: Target, { digest, bytes }: TestBlob): Promise<void> {
  const session = await send(target, 'POST', `${target.base}/blobs/uploads/`)
  const location = new URL(session.headers.get('location') ?? '', target.base)
  location.searchParams.set('digest', digest)
  await send(target, 'PUT', location.href, { type: 'application/octet-stream', body: bytes })
}

async function send(
  { headers }: Target,
  method: string,
  url: string,
  content?: { type: string; body: Uint8Array },
): Promise<Response> {
  const answer = await fetch(url, {
    method,
    headers: { ...headers, ...(content && { 'content-type': content.type }) },
    body: content ? Buffer.from(content.body) : null,
    signal: AbortSignal.timeout(30_000),
  })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`${method} ${url}: ${answer.status} ${text}`)
  return answer
}
