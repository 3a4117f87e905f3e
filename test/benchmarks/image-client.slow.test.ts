import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HubProcess } from '../../benchmarks/support/hub-process.ts'
import { ImageClient } from '../../benchmarks/support/image-client.ts'
import { megabits } from '../../benchmarks/support/units.ts'
import { reasonToSkip } from '../support/programs.ts'

const skip = reasonToSkip({ programs: ['openssl'] })
const roundTripMs = 100
const image = { repository: 'library/app', tag: 'v1', layerSizes: [1000], seed: 'app' }

test('over a line with TLS handshakes and answers cost their round trips', { skip }, async () => {
  await using hub = await HubProcess.start({ bytesPerSecond: megabits(100), roundTripMs, isTls: true })
  const summary = await hub.addImage(image)
  using client = new ImageClient({ url: hub.url, ca: hub.ca })
  const startedAt = performance.now()
  await client.pull(summary)
  const trips = (performance.now() - startedAt) / roundTripMs
  // TCP, TLS, /v2/; the same for the token; the manifest; the config's redirect; TCP, TLS and the config at the CDN;
  // the layer's redirect; the layer.
  assert.ok(trips >= 3 + 3 + 1 + 1 + 3 + 1 + 1, `${trips} round trips`)
  assert.equal((await hub.traffic()).connections, 3)
})

test('a blob that is not what its digest says is told', { skip }, async () => {
  await using hub = await HubProcess.start()
  const summary = await hub.addImage(image)
  await hub.fault({ listener: 'cdn', digest: summary.layers[0]?.digest ?? '' }, { flipAt: 10 })
  using client = new ImageClient({ url: hub.url })
  await assert.rejects(client.pull(summary), /its digest is wrong/)
})

test('a connection that breaks is told, or gone on behind: no byte comes twice', { skip }, async () => {
  const cutAfterBytes = 400_000
  await using hub = await HubProcess.start({ bytesPerSecond: megabits(400), isTls: true, cutAfterBytes })
  const summary = await hub.addImage({ ...image, layerSizes: [1_500_000] })
  using impatient = new ImageClient({ url: hub.url, ca: hub.ca })
  await assert.rejects(impatient.pull(summary), { code: 'ECONNRESET' })
  const before = await hub.traffic()
  using client = new ImageClient({ url: hub.url, ca: hub.ca, isResuming: true })
  await client.pull(summary)
  const { bytes, connections } = await hub.traffic()
  assert.ok(bytes - before.bytes < 1.1 * 1_500_000, `${bytes - before.bytes} bytes`)
  assert.ok(connections - before.connections >= 2 + 4, `${connections - before.connections} connections`)
})
