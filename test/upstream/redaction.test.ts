import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { createLogger } from '../../src/logging/logger.ts'
import type { Tag } from '../../src/oci/reference.ts'
import type { RepositoryName } from '../../src/oci/repository-name.ts'
import type { RegistryClient } from '../../src/upstream/registry-client.ts'
import { collected } from '../support/collected.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import type { HubRequest } from '../support/hub-exchange.ts'
import type { Fault, FaultMatcher } from '../support/hub-faults.ts'
import { buildImage } from '../support/images.ts'
import { forwardProxy } from './connections/forward-proxy.ts'
import { clientOf, collect } from './fixtures.ts'

const repository = 'library/alpine' as RepositoryName
const latest = 'latest' as Tag
const image = buildImage({ layers: [100_000] })
const [layer = assert.fail()] = image.layers
const password = 'canary-password-4711'
const proxyPassword = 'canary-proxy-0815'
const { signal } = new AbortController()

const faults: readonly [FaultMatcher, Fault][] = [
  [{ listener: 'registry' }, { status: 429, retryAfter: 1 }],
  [{ listener: 'registry' }, { status: 503 }],
  [{ listener: 'registry' }, { realm: `http://user:${password}@elsewhere.test/token?token=${password}` }],
  [{ listener: 'registry' }, { redirectTo: `http://user:${password}@127.0.0.3:9/?Signature=${password}` }],
  [{ listener: 'registry' }, { redirectTo: `ftp://127.0.0.1/?X-Amz-Signature=${password}` }],
  [{ listener: 'token' }, { status: 500, body: password }],
  [{ listener: 'token' }, { status: 200, body: `{"token":"${password}\\r\\n"}` }],
  [{ listener: 'cdn' }, { status: 403 }],
  [{ listener: 'cdn' }, { stallBeforeHeaders: true }],
  [{ listener: 'cdn' }, { cutAfter: 10 }],
  [{ listener: 'cdn' }, { stallAfter: 10 }],
]

/** Asks for everything; what fails is logged as the callers of a client do. */
async function ask(client: RegistryClient, log: (error: unknown) => void): Promise<void> {
  const questions = [
    async () => client.manifestDigest(repository, latest),
    async () => client.manifest(repository, latest),
    async () => client.tags(repository, ''),
    async () => client.hasBlob(repository, layer.digest),
    async () => collect((await client.blob(repository, layer.digest, { position: 0, signal })).body()),
  ]
  for (const question of questions) await question().catch(log)
}

type Evidence = { readonly text: string; readonly errors: readonly unknown[]; readonly sent: HubRequest[] }

/** What a client of a broken upstream logs, what it throws, and what was sent. */
async function askBroken(t: TestContext, fault?: readonly [FaultMatcher, Fault]): Promise<Evidence> {
  await using hub = await startDockerHub({ accounts: { operator: password } })
  hub.addImage(repository, 'latest', image)
  hub.setPrivate(repository)
  const { stream: destination, text } = collected()
  const logger = createLogger({ level: 'trace', format: 'json', destination, isTerminal: false })
  const credentials = { username: 'operator', password }
  const client = () => clientOf(t, hub.url, { credentials, logger, stallMs: 200 })
  const errors: unknown[] = []
  await ask(client(), (error) => errors.push(error))
  if (fault) hub.fault(...fault)
  const broken = client()
  await ask(broken, (error) => errors.push(error))
  hub.expireTokens()
  await ask(broken, (error) => errors.push(error))
  await hub.stop()
  await ask(client(), (error) => errors.push(error))
  return { text: text(), errors, sent: [...hub.requests] }
}

/** The same for a proxy that wants a login and refuses. */
async function askProxy(t: TestContext): Promise<Evidence> {
  const proxy = await forwardProxy(t, () => undefined)
  const login = proxy.url.replace('//', `//user:${proxyPassword}@`)
  const errors: unknown[] = []
  for (const url of ['http://registry.test', 'https://registry.test']) {
    const client = clientOf(t, url, { proxyEnvironment: { HTTP_PROXY: login, HTTPS_PROXY: login } })
    await ask(client, (error) => errors.push(error))
  }
  return { text: '', errors, sent: [] }
}

test('no password, token or signature is in a log at level trace, in any format', async (t) => {
  const found = await Promise.all([...faults.map((fault) => askBroken(t, fault)), askBroken(t), askProxy(t)])
  const requests = found.flatMap(({ sent }) => sent)
  const secrets = new Set([password, proxyPassword])
  for (const { url, headers } of requests) {
    const signature = new URL(url, 'http://cdn').searchParams.get('Signature')
    const authorization = headers.authorization?.replace(/^\w+ /, '')
    for (const secret of [signature, authorization]) if (secret) secrets.add(secret)
  }
  assert.ok(secrets.size > 20, 'tokens, signatures and passwords were sent')

  const errors = found.flatMap((evidence) => evidence.errors)
  const texts = found.map((evidence) => evidence.text)
  assert.match(texts.join(''), /upstream cannot be reached/)
  for (const format of ['json', 'text', 'pretty', 'logstash', 'ecs'] as const) {
    const { stream: destination, text } = collected()
    const logger = createLogger({ level: 'trace', format, destination, isTerminal: false })
    for (const err of errors) logger.error({ err }, 'a question failed')
    logger.trace({ requests }, 'all that was asked for')
    texts.push(text())
    assert.match(texts.at(-1) ?? '', /all that was asked for/)
  }
  for (const text of texts) {
    for (const secret of secrets) assert.ok(!text.includes(secret), `"${secret}" is in the log`)
  }
})
