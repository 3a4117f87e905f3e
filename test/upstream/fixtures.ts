import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer, type IncomingHttpHeaders, type RequestListener, type Server } from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { pino } from 'pino'
import { type Expiring, expiringInMemory } from '../../src/flow/expiring.ts'
import { LentBytes } from '../../src/flow/lent-bytes.ts'
import { Pieces } from '../../src/flow/pieces.ts'
import { Uplink } from '../../src/flow/uplink.ts'
import { DocumentReader } from '../../src/oci/document-reader.ts'
import { Certificates } from '../../src/upstream/connections/certificates.ts'
import { LineUse } from '../../src/upstream/connections/line-use.ts'
import { Names } from '../../src/upstream/connections/names.ts'
import { ProxySettings } from '../../src/upstream/connections/proxy-settings.ts'
import { Transport, type TransportOptions } from '../../src/upstream/connections/transport.ts'
import type { UpstreamErrorCode } from '../../src/upstream/error.ts'
import { RegistryClient, type RegistryClientOptions } from '../../src/upstream/registry-client.ts'
import { run } from '../support/child-process.ts'
import { until } from '../support/settle.ts'

/** A request that a `listen` server received. */
export type SeenRequest = {
  readonly method: string
  readonly url: string
  readonly headers: IncomingHttpHeaders
}

/** A local server, closed with the test. */
export type TestServer = {
  /** Without a slash at the end. */
  readonly url: string
  readonly port: number
  readonly server: Server
  readonly requests: SeenRequest[]
  /** Connections ever accepted. */
  readonly connections: () => number
}

export type Certificate = { readonly key: string; readonly cert: string }

/** Serves `handler` on a free port of `address`; over TLS with a certificate. */
export async function listen(
  t: TestContext,
  handler: RequestListener,
  options: { tls?: Certificate; address?: string } = {},
): Promise<TestServer> {
  const { tls, address = '127.0.0.1' } = options
  const requests: SeenRequest[] = []
  const observed: RequestListener = (request, response) => {
    requests.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers })
    handler(request, response)
  }
  const server = tls ? https.createServer(tls, observed) : createServer(observed)
  server.keepAliveTimeout = 60_000
  let connections = 0
  server.on('connection', () => {
    connections += 1
  })
  await new Promise<void>((resolve) => server.listen(0, address, resolve))
  t.after(() => {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(resolve))
  })
  const { port } = server.address() as AddressInfo
  const url = `${tls ? 'https' : 'http'}://${address}:${port}`
  return { url, port, server, requests, connections: () => connections }
}

/** How connections are made, in the form of the environment and of mirror.yml. */
type Way = {
  readonly ca?: string | undefined
  readonly proxyEnvironment?: NodeJS.ProcessEnv
}

function wayOf({ ca, proxyEnvironment = {} }: Way) {
  const context = new Certificates().secureContext(ca)
  return {
    pieces: new Pieces({ isChecked: true }),
    names: new Names(),
    lineUse: new LineUse(),
    secureContext: () => context,
    proxies: ProxySettings.fromEnvironment(proxyEnvironment),
  }
}

/** The way to `url`. */
export function transportOptions(
  url: string,
  options: Partial<TransportOptions> & Way = {},
): TransportOptions {
  const defaults = {
    upstream: 'docker.io',
    stallMs: 5000,
    patienceMs: 5000,
    userAgent: 'larder/test',
    url: new URL(url),
  }
  return { ...defaults, ...wayOf(options), ...options }
}

/** A transport to `url`, disposed of with the test. */
export function transportTo(
  t: TestContext,
  url: string,
  options: Partial<TransportOptions> & Way = {},
): Transport {
  const all = transportOptions(url, options)
  const transport = new Transport(all)
  t.after(() => {
    transport[Symbol.dispose]()
    return givenBack(all.pieces)
  })
  return transport
}

/** Resolves when nobody holds a byte any more. Throws AggregateError that tells who does. */
async function givenBack(pieces: Pieces): Promise<void> {
  try {
    await until(() => pieces.inUse === 0)
  } finally {
    pieces[Symbol.dispose]()
  }
}

/** A place for tokens that never fails. */
export function tokensInMemory(): Expiring<string> {
  return expiringInMemory({ entries: 1000, bytes: 1024 * 1024 }, (error) => {
    throw error
  })
}

export type ClientOptions = Partial<Omit<RegistryClientOptions, 'url'>> & Way

/** A client of the registry at `url`, disposed of with the test. */
export function clientOf(t: TestContext, url: string, options: ClientOptions = {}): RegistryClient {
  const all = {
    name: 'docker.io',
    url: new URL(url),
    credentials: undefined,
    realms: [],
    revalidateMs: 300_000,
    downloads: 3,
    connections: 8,
    uplink: new Uplink(),
    documents: new DocumentReader(),
    ...wayOf(options),
    stallMs: 5000,
    patienceMs: 5000,
    userAgent: 'larder/test',
    tokens: tokensInMemory(),
    logger: pino({ level: 'silent' }),
    ...options,
  }
  const client = new RegistryClient(all)
  t.after(async () => {
    await client[Symbol.asyncDispose]()
    await givenBack(all.pieces)
  })
  return client
}

/** For a crowd that one process asks and answers: how long that takes is the machine's affair. */
export const patient = { stallMs: 60_000, patienceMs: 60_000 }

/** Asserts that `promise` rejects with an UpstreamError of this code, whose message matches. */
export async function failsWith(
  promise: Promise<unknown>,
  code: UpstreamErrorCode,
  message = /./,
): Promise<void> {
  await assert.rejects(promise, { name: 'UpstreamError', code, message })
}

/** Reads a body to its end. */
export async function collect(body: AsyncIterable<Uint8Array | LentBytes>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of body)
    chunks.push(Uint8Array.from(chunk instanceof LentBytes ? chunk.bytes : chunk))
  return Buffer.concat(chunks)
}

/** A self-signed certificate for names such as `DNS:localhost` or `IP:127.0.0.1`. */
export async function selfSigned(names: string): Promise<Certificate> {
  const folder = await mkdtemp(join(tmpdir(), 'larder-tls-'))
  try {
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
    const subject = ['-days', '3', '-subj', '/CN=larder-test', '-addext', `subjectAltName=${names}`]
    await run('openssl', ['req', '-x509', ...curve, '-keyout', key, '-out', cert, ...subject])
    return { key: await readFile(key, 'utf8'), cert: await readFile(cert, 'utf8') }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
