import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { RepositoryName } from '../../src/oci/repository-name.ts'
import { BlobSource } from '../../src/registry/blob-source.ts'
import { repositoryKey } from '../../src/storage/repository-key.ts'
import type { RegistryClient } from '../../src/upstream/registry-client.ts'
import { StorageAddress } from '../../src/upstream/storage-address.ts'
import { type DockerHub, type DockerHubOptions, startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { clientOf, collect, failsWith } from './fixtures.ts'

// Neighbours: one span after the other, several at once; a registry with storage, without; an address that has expired; a
// host that may not be gone to; another repository; another client; the account.

const app = 'library/app' as RepositoryName
const image = buildImage({ layers: [300_000] })
const [layer = assert.fail()] = image.layers
const { signal } = new AbortController()
const spanBytes = 100_000

async function hubWith(t: TestContext, options: DockerHubOptions = {}): Promise<DockerHub> {
  const hub = await startDockerHub(options)
  t.after(() => hub.close())
  hub.addImage(app, 'latest', image)
  return hub
}

/** Fetches a span of the layer, and looks at it. */
async function fetchSpan(client: RegistryClient, number: number, address: StorageAddress): Promise<void> {
  const position = number * spanBytes
  const query = { position, end: position + spanBytes, signal, address }
  const span = await client.blob(app, layer.digest, query)
  assert.deepEqual(
    [span.start, span.end, span.size, span.as],
    [position, position + spanBytes, layer.size, 'anyone'],
  )
  const bytes = await collect(span.body())
  assert.ok(bytes.equals(layer.bytes.subarray(position, position + spanBytes)))
}

const blobsAsked = (hub: DockerHub) => hub.count({ listener: 'registry', path: /\/blobs\//, status: 307 })

test('the spans of a blob cost one redirect, and bring no credentials to storage', async (t) => {
  const hub = await hubWith(t)
  const client = clientOf(t, hub.url)
  const address = new StorageAddress()
  await fetchSpan(client, 0, address)
  await Promise.all([fetchSpan(client, 1, address), fetchSpan(client, 2, address)])
  assert.equal(blobsAsked(hub), 1)
  const atStorage = hub.find({ listener: 'cdn' })
  assert.deepEqual(
    atStorage.map(({ status, headers }) => [status, headers.authorization]),
    Array(3).fill([206, undefined]),
  )
  assert.equal(client.counters.requests.get('GET blob 206'), 3)
  assert.equal(client.counters.blobBytes, layer.size)
})

test('an address that has expired is asked for again, once for all spans', async (t) => {
  const hub = await hubWith(t)
  const client = clientOf(t, hub.url)
  const address = new StorageAddress()
  await fetchSpan(client, 0, address)
  hub.expireUrls()
  await Promise.all([0, 1, 2].map((number) => fetchSpan(client, number, address)))
  assert.equal(blobsAsked(hub), 2)
  assert.equal(client.isReachable, true)
})

test('a registry that serves blobs itself is asked for each span, with a token', async (t) => {
  const hub = await hubWith(t, { cdn: false })
  const client = clientOf(t, hub.url)
  const address = new StorageAddress()
  for (const number of [0, 1, 2]) await fetchSpan(client, number, address)
  assert.equal(hub.count({ listener: 'registry', path: /\/blobs\//, status: 206 }), 3)
})

test('storage that fails says nothing about the registry', async (t) => {
  const hub = await hubWith(t)
  const client = clientOf(t, hub.url)
  const address = new StorageAddress()
  await fetchSpan(client, 0, address)
  hub.fault({ listener: 'cdn' }, { status: 503 })
  for (let i = 0; i < 3; i += 1) await failsWith(fetchSpan(client, 1, address), 'SERVER_ERROR', /redirects/)
  assert.equal(client.isReachable, true)
  hub.clearFaults()
  await fetchSpan(client, 1, address)
})

test('where the registry is gone, storage that it has sent us to is asked on', async (t) => {
  const hub = await hubWith(t)
  const client = clientOf(t, hub.url)
  const address = new StorageAddress()
  await fetchSpan(client, 0, address)
  hub.fault({ listener: 'registry' }, { status: 503 })
  await fetchSpan(client, 1, address)
})

test('a source keeps the address to itself: another one of the same blob asks for its own', async (t) => {
  const hub = await hubWith(t)
  const upstream = clientOf(t, hub.url)
  const repository = { upstream, name: app, key: repositoryKey('docker.io', app) }
  const source = () => new BlobSource(repository, layer.digest, async () => {})
  const turn = { clients: [], receivingSince: undefined, bytes: 0, restingMs: 0, end: () => false }
  const open = async (from: BlobSource, position: number) => {
    const span = await from.open(position, { end: position + spanBytes, since: 0, signal, turn })
    await collect(span.body())
  }
  const first = source()
  await open(first, 0)
  await open(first, spanBytes)
  assert.equal(blobsAsked(hub), 1)
  await open(source(), spanBytes)
  assert.equal(blobsAsked(hub), 2)
  first.distrust()
  await open(first, 0)
  assert.equal(blobsAsked(hub), 3, 'what brought wrong bytes is asked for where to go')
  assert.ok((first.roundTripMs ?? 0) > 0)
})
