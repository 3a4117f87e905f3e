import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type Logger, pino } from 'pino'
import type { Tag } from '../../src/oci/reference.ts'
import type { RepositoryName } from '../../src/oci/repository-name.ts'
import type { UpstreamError } from '../../src/upstream/error.ts'
import { type DockerHub, startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { until } from '../support/settle.ts'
import { clientOf, failsWith } from './fixtures.ts'

const repository = 'library/alpine' as RepositoryName
const latest = 'latest' as Tag
const image = buildImage()

async function startHub(t: TestContext): Promise<DockerHub> {
  const hub = await startDockerHub()
  t.after(() => hub.close())
  hub.addImage(repository, 'latest', image)
  return hub
}

function loggerInto(lines: string[]): Logger {
  return pino({ base: null }, { write: (line: string) => void lines.push(JSON.parse(line).msg) })
}

test('two failures open the circuit, a probe closes it when the upstream is back; nobody waits meanwhile', async (t) => {
  const hub = await startHub(t)
  const lines: string[] = []
  const client = clientOf(t, hub.url, { logger: loggerInto(lines) })
  await client.manifestDigest(repository, latest)
  await hub.stop()
  await failsWith(client.manifestDigest(repository, latest), 'UNREACHABLE')
  assert.equal(client.isReachable, true)
  await failsWith(client.manifestDigest(repository, latest), 'UNREACHABLE')
  assert.equal(client.isReachable, false)

  const began = performance.now()
  for (let count = 0; count < 100; count += 1) {
    await failsWith(client.manifest(repository, latest), 'CIRCUIT_OPEN', /cannot be reached: .*ECONNREFUSED/)
  }
  // Whoever waited for a probe would wait for half a second at least.
  assert.ok(performance.now() - began < 100 * 250, 'less than 250 ms for each')
  assert.deepEqual(lines, ['upstream cannot be reached: serving what is cached'])

  hub.reset()
  await hub.start()
  await until(() => client.isReachable, { timeoutMs: 10_000 })
  assert.deepEqual(lines, ['upstream cannot be reached: serving what is cached', 'upstream is back'])
  const probes = hub.requests.map(({ method, url, headers }) => [method, url, headers.authorization])
  assert.deepEqual(probes, [['GET', '/v2/', undefined]])
  assert.equal((await client.manifest(repository, latest)).claimedDigest, image.manifest.digest)
})

test('an upstream that accepts and says nothing opens the circuit, too', async (t) => {
  const hub = await startHub(t)
  const client = clientOf(t, hub.url, { stallMs: 1000 })
  hub.fault({ listener: 'registry' }, { stallBeforeHeaders: true })
  for (let count = 0; count < 2; count += 1) {
    await failsWith(client.manifestDigest(repository, latest), 'TIMED_OUT')
  }
  await failsWith(client.manifestDigest(repository, latest), 'CIRCUIT_OPEN')
  hub.clearFaults()
  await until(() => client.isReachable, { timeoutMs: 10_000 })
})

test('an upstream that answers is reachable, whatever it says', async (t) => {
  const hub = await startHub(t)
  const client = clientOf(t, hub.url)
  for (const status of [500, 503, 404, 403]) {
    using _ = hub.fault({ listener: 'registry' }, { status })
    for (let count = 0; count < 3; count += 1) {
      await assert.rejects(client.manifestDigest(repository, latest), { name: 'UpstreamError', status })
    }
  }
  assert.equal(client.isReachable, true)
})

test('one failure between successes opens nothing', async (t) => {
  const hub = await startHub(t)
  const client = clientOf(t, hub.url)
  for (let count = 0; count < 4; count += 1) {
    await client.manifestDigest(repository, latest)
    await hub.stop()
    await failsWith(client.manifestDigest(repository, latest), 'UNREACHABLE')
    await hub.start()
  }
  assert.equal(client.isReachable, true)
})

test('storage that is dead is no outage of the registry that redirects to it, however often it is met', async (t) => {
  const hub = await startHub(t)
  // Longer than the registry, in this busy process, takes to answer.
  const client = clientOf(t, hub.url, { stallMs: 1000 })
  const layer = image.layers[0] ?? image.config
  const { signal } = new AbortController()
  for (const [fault, code] of [
    [{ redirectTo: 'http://127.0.0.1:1/blob' }, 'UNREACHABLE'],
    [{ stallBeforeHeaders: true }, 'TIMED_OUT'],
  ] as const) {
    using _ = hub.fault('redirectTo' in fault ? { path: /blobs/ } : { listener: 'cdn' }, fault)
    for (let count = 0; count < 4; count += 1) {
      const blob = client.blob(repository, layer.digest, { position: 0, signal })
      await failsWith(blob, code, /127\.0\.0\.1:\d+, to which it redirects: /)
    }
    assert.equal(client.isReachable, true)
    assert.equal(await client.manifestDigest(repository, latest), image.manifest.digest)
  }
})

test('a dead upstream costs a small request two connections, not three', async (t) => {
  const hub = await startHub(t)
  await hub.stop()
  const client = clientOf(t, hub.url)
  // The second one is refused where the look that the first one brought was sooner.
  const code = /^(UNREACHABLE|CIRCUIT_OPEN)$/
  await assert.rejects(client.manifest(repository, latest), (error: UpstreamError) => code.test(error.code))
  await until(() => !client.isReachable)
})

test('a client that leaves is no failure of the upstream', async (t) => {
  const hub = await startHub(t)
  const client = clientOf(t, hub.url)
  hub.fault({ path: /blobs/ }, { stallBeforeHeaders: true })
  for (let count = 0; count < 4; count += 1) {
    const controller = new AbortController()
    const options = { position: 0, signal: controller.signal }
    const blob = client.blob(repository, image.config.digest, options)
    await until(() => hub.count({ path: /blobs/ }) >= count + 1)
    controller.abort(new Error('gone'))
    await assert.rejects(blob, /gone/)
  }
  assert.equal(client.isReachable, true)
})

test('whether an upstream is there is found out at the start, without an error', async (t) => {
  const hub = await startHub(t)
  const there = clientOf(t, hub.url)
  await there.check()
  assert.equal(there.isReachable, true)
  await hub.stop()
  const absent = clientOf(t, hub.url)
  await absent.check()
  assert.equal(absent.isReachable, false)
})

test('disposal ends the probes', { timeout: 60_000 }, async (t) => {
  const hub = await startHub(t)
  await hub.stop()
  const lines: string[] = []
  const client = clientOf(t, hub.url, { logger: loggerInto(lines) })
  // Time stands still: whoever waited for the next probe would wait for ever.
  t.mock.timers.enable({ apis: ['setTimeout'] })
  await client.check()
  assert.equal(client.isReachable, false)
  // By then it waits for the first one.
  await new Promise(setImmediate)
  await client[Symbol.asyncDispose]()
  assert.deepEqual(lines, ['upstream cannot be reached: serving what is cached'])
})
