import assert from 'node:assert/strict'
import { getEventListeners, once } from 'node:events'
import type { RequestListener } from 'node:http'
import { type TestContext, test } from 'node:test'
import { deferred } from '../../../src/flow/deferred.ts'
import type { Tag } from '../../../src/oci/reference.ts'
import type { RepositoryName } from '../../../src/oci/repository-name.ts'
import { RoundTrips } from '../../../src/upstream/connections/round-trips.ts'
import { startDockerHub } from '../../support/docker-hub.ts'
import { buildImage } from '../../support/images.ts'
import { until } from '../../support/settle.ts'
import { SlowLine } from '../../support/slow-line.ts'
import {
  clientOf,
  collect,
  failsWith,
  listen,
  selfSigned,
  type TestServer,
  transportTo,
} from '../fixtures.ts'

const certificate = await selfSigned('IP:127.0.0.1')
const image = buildImage({ layers: [100_000] })
const repository = 'library/alpine' as RepositoryName

/** Sockets that are open at a server now. */
function openConnections({ server }: TestServer): Promise<number> {
  return new Promise((resolve, reject) =>
    server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
  )
}

const answers: Readonly<Record<string, RequestListener>> = {
  'with a body that is read': (_request, response) => void response.end('x'.repeat(50_000)),
  'with an empty body': (_request, response) => void response.writeHead(200).end(),
  chunked: (_request, response) => {
    response.write('a')
    response.end('b')
  },
}

for (const [what, handler] of Object.entries(answers)) {
  for (const tls of [undefined, certificate]) {
    test(`answers ${what} use one ${tls ? 'TLS ' : ''}connection`, async (t) => {
      const server = await listen(t, handler, tls ? { tls } : {})
      const transport = transportTo(t, server.url, { ca: tls?.cert })
      for (let count = 0; count < 5; count += 1) {
        const response = await transport.request({ method: 'GET', url: new URL(server.url) })
        await collect(response.body())
      }
      assert.equal(server.connections(), 1)
    })
  }
}

test('answers to HEAD that are let go of share connections', async (t) => {
  const server = await listen(t, (_request, response) =>
    response.writeHead(200, { 'content-length': 1e9 }).end(),
  )
  assert.ok((await connectionsOfDiscarded(t, server, 'HEAD')) <= 2)
})

for (const length of ['with a length', 'chunked']) {
  test(`small answers ${length} that are let go of share connections`, async (t) => {
    const server = await listen(t, (_request, response) => {
      if (length === 'chunked') response.flushHeaders()
      response.end('no such thing')
    })
    assert.ok((await connectionsOfDiscarded(t, server, 'GET')) <= 2)
  })

  test(`of a large answer ${length} that is let go of, little is read`, async (t) => {
    const size = 256 * 1024 * 1024
    let written = 0
    const server = await listen(t, async (_request, response) => {
      if (length !== 'chunked') response.setHeader('content-length', size)
      const closed = once(response, 'close').then(() => false)
      for (const piece = Buffer.alloc(65_536); written < size; written += piece.length) {
        const isTaken = response.write(piece) || (await Promise.race([once(response, 'drain'), closed]))
        if (!isTaken) return
      }
      response.end()
    })
    assert.equal(await connectionsOfDiscarded(t, server, 'GET', 1), 1)
    await until(async () => (await openConnections(server)) === 0, { what: 'connection closed' })
    assert.ok(written < 32 * 1024 * 1024, `${written} bytes`)
  })
}

test('an answer that is let go of and never ends is cut off', async (t) => {
  const server = await listen(t, (_request, response) => void response.write('a'))
  await connectionsOfDiscarded(t, server, 'GET', 1, 1000)
  await until(async () => (await openConnections(server)) === 0, { what: 'connection closed' })
})

/** How many connections a number of requests took whose answers were let go of. */
async function connectionsOfDiscarded(
  t: TestContext,
  server: TestServer,
  method: 'GET' | 'HEAD',
  requests = 20,
  stallMs = 5000,
): Promise<number> {
  const transport = transportTo(t, server.url, { stallMs })
  for (let count = 0; count < requests; count += 1) {
    const response = await transport.request({ method, url: new URL(server.url) })
    response.discard()
  }
  return server.connections()
}

test('a pull with its challenge and redirects opens one connection each to registry, token service and CDN', async (t) => {
  // Else more are opened before they are needed.
  t.mock.method(RoundTrips.prototype, 'isFar', () => false)
  await using line = new SlowLine({ delayMs: 5 })
  await using hub = await startDockerHub({ line })
  hub.addImage(repository, 'latest', image)
  const client = clientOf(t, hub.url)
  await client.manifestDigest(repository, 'latest' as Tag)
  await client.manifest(repository, image.manifest.digest)
  const { signal } = new AbortController()
  for (const { digest, size } of [image.config, ...image.layers]) {
    const blob = await client.blob(repository, digest, { position: 0, signal })
    assert.equal((await collect(blob.body())).length, size)
    assert.equal(await client.hasBlob(repository, digest), true)
  }
  await failsWith(client.manifest(repository, 'missing' as Tag), 'NOT_FOUND')
  assert.equal(line.opened, 3)
})

test('after disposal no connection is left, and requests under way fail', async (t) => {
  const reached = deferred<void>()
  const server = await listen(t, (request, response) => {
    if (request.url === '/stall') reached.resolve()
    else response.end('ok')
  })
  const transport = transportTo(t, server.url)
  for (const url of ['/', '/', '/']) {
    const response = await transport.request({ method: 'GET', url: new URL(url, server.url) })
    await collect(response.body())
  }
  const stalled = transport.request({ method: 'GET', url: new URL('/stall', server.url) })
  await reached.promise
  transport[Symbol.dispose]()
  await failsWith(stalled, 'UNREACHABLE')
  await until(async () => (await openConnections(server)) === 0, { what: 'connections closed' })
})

test('no listener stays on a signal that many requests share', async (t) => {
  const server = await listen(t, (_request, response) => void response.end('ok'))
  const transport = transportTo(t, server.url)
  const { signal } = new AbortController()
  for (let count = 0; count < 30; count += 1) {
    const response = await transport.request({ method: 'GET', url: new URL(server.url), signal })
    if (count % 2 === 0) response.discard()
    else await collect(response.body())
  }
  await until(() => getEventListeners(signal, 'abort').length === 0, { what: 'listeners gone' })
})
