import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Tag } from '../../src/oci/reference.ts'
import type { RepositoryName } from '../../src/oci/repository-name.ts'
import type { Spares } from '../../src/upstream/connections/agents.ts'
import { RoundTrips } from '../../src/upstream/connections/round-trips.ts'
import { EarlyConnections } from '../../src/upstream/early-connections.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { until } from '../support/settle.ts'
import { startSlowLine } from '../support/slow-line.ts'
import { clientOf, collect } from './fixtures.ts'

const app = 'library/app' as RepositoryName
const latest = 'latest' as Tag
const image = buildImage({ layers: [1000, 2000, 600_000] })
const { signal } = new AbortController()

/** What is opened early in a world that can be changed. */
function scene() {
  const world = {
    isReachable: true,
    isFar: true,
    realm: new URL('https://auth.test/token') as URL | undefined,
  }
  const opened: string[] = []
  const transport = {
    isFar: () => world.isFar,
    prepare: (url: URL, { free, most }: Spares) => void opened.push(`${url.href} ${free} of ${most}`),
  }
  const early = new EarlyConnections(transport, {
    url: new URL('https://registry.test'),
    tokenService: async () => world.realm,
    isReachable: () => world.isReachable,
    connections: 6,
  })
  return { world, opened, early }
}

test('a pull that begins opens connections to the registry and to the token service, and to the last storage', async () => {
  const { early, opened } = scene()
  await early.pullBegins(app)
  assert.deepEqual(opened, ['https://registry.test/ 6 of 6', 'https://auth.test/token 1 of 2'])
  early.storageFound(new URL('https://cdn.test/blob?Signature=secret'), 5)
  opened.length = 0
  await early.pullBegins(app)
  assert.deepEqual(opened, [
    'https://registry.test/ 6 of 6',
    'https://cdn.test/ 5 of 6',
    'https://auth.test/token 1 of 2',
  ])
})

test('where a token is there, or none is needed, nothing is opened for one', async () => {
  const { early, world, opened } = scene()
  world.realm = undefined
  await early.introduced()
  await early.pullBegins(app)
  assert.deepEqual(opened, ['https://registry.test/ 6 of 6'])
})

for (const [what, change] of [
  ['while the upstream cannot be reached', { isReachable: false }],
  ['where all is near', { isFar: false }],
] as const) {
  test(`nothing is opened early ${what}`, async () => {
    const { early, world, opened } = scene()
    Object.assign(world, change)
    await early.introduced()
    await early.pullBegins(app)
    early.storageFound(new URL('https://cdn.test/blob'), 5)
    assert.deepEqual(opened, [])
  })
}

test('after the check the first manifest costs its token and itself, and no connection', async (t) => {
  t.mock.method(RoundTrips.prototype, 'isFar', () => true)
  await using hub = await startDockerHub()
  hub.addImage(app, 'latest', image)
  const client = clientOf(t, hub.url)
  await client.check()
  hub.reset()
  await client.manifest(app, latest)
  const asked = hub.requests.map(({ listener, status }) => `${listener} ${status}`)
  assert.deepEqual(asked, ['token 200', 'registry 200'])
})

test('of the blobs of a pull none waits for a connection of its own to the registry', async (t) => {
  t.mock.method(RoundTrips.prototype, 'isFar', () => true)
  await using hub = await startDockerHub()
  hub.addImage(app, 'latest', image)
  const { port } = new URL(hub.url)
  await using line = await startSlowLine({ target: { host: '127.0.0.1', port: Number(port) } })
  const client = clientOf(t, line.url)
  await client.check()
  await client.manifest(app, latest)
  await until(() => line.opened === 6, { what: 'the spares of a pull' })
  const blobs = [image.config, ...image.layers].map(({ digest }) =>
    client.blob(app, digest, { position: 0, signal }),
  )
  for (const blob of await Promise.all(blobs)) await collect(blob.body())
  assert.equal(line.opened, 6)
})

test('storage sees no more connections than limits.connections, opened early or not', async (t) => {
  t.mock.method(RoundTrips.prototype, 'isFar', () => true)
  await using line = await startSlowLine()
  await using hub = await startDockerHub({
    front: async (listener, target) => {
      const { host, port } = listener === 'cdn' ? await line.forward(target) : target
      return `http://${host}:${port}`
    },
  })
  hub.addImage(app, 'latest', image)
  const client = clientOf(t, hub.url, { connections: 2 })
  const digest = image.layers[2]?.digest ?? assert.fail()
  for (let round = 0; round < 2; round += 1) {
    await client.manifest(app, latest)
    const spans = [0, 300_000].map((position) =>
      client.blob(app, digest, { position, end: position + 300_000, signal }),
    )
    for (const span of await Promise.all(spans)) await collect(span.body())
  }
  assert.equal(line.opened, 2)
})
