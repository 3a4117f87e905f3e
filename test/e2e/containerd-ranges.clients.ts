// containerd from 2.1 on takes a layer by several connections, each with a range that is open at its end, and closes each
// after its piece: of a blob that nobody has yet, over a line that is slow. Neighbours that were thought of: the line is
// cut meanwhile; the blob is here; two such clients at once.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startDockerHub } from '../support/docker-hub.ts'
import type { TestImage } from '../support/images.ts'
import { meets } from '../support/programs.ts'
import { until } from '../support/settle.ts'
import { startSlowLine } from '../support/slow-line.ts'
import { fileOfPage } from './support/clients-page.ts'
import { containerdPrograms, startContainerd } from './support/containerd.ts'
import { meetsSuite } from './support/debian-suite.ts'
import { startLarder } from './support/larder-process.ts'
import { startNoInternet } from './support/no-internet.ts'
import { largeImage } from './support/sample-images.ts'

const name = 'docker.io/library/large:latest'
const windowBytes = 128 * 1024
/** Pieces of 2 MiB, over as many connections as it downloads layers at a time. */
const parallel = `version = 3

[plugins."io.containerd.transfer.v1.local"]
  max_concurrent_downloads = 8
  concurrent_layer_fetch_buffer = 2097152
`

test('containerd 2.1 takes a cold layer in parallel ranges over a slow line, which is cut meanwhile: it crosses once', {
  timeout: 240_000,
}, async (t) => {
  if (!meets(t, { programs: [...containerdPrograms, 'busybox'], root: true }) || !meetsSuite(t, 'forky'))
    return
  await using line = await startSlowLine({ rateBytesPerSecond: 2_500_000, delayMs: 50, windowBytes })
  await using hub = await startDockerHub({ line })
  const { image } = largeImage()
  const [, layer] = image.layers
  assert.ok(layer)
  hub.addImage('library/large', 'latest', image)
  await using larder = await startLarder({ upstreams: [{ name: 'docker.io', url: hub.url }] })
  await using internet = await startNoInternet()
  const files = {
    ...fileOfPage('/etc/containerd/certs.d/docker.io/hosts.toml', larder.host, 'containerd-2.1'),
    '/etc/containerd/config.toml': parallel,
  }
  const ofLayer = () => larder.requests().filter(({ url }) => url.includes(layer.digest))

  await t.test('two of them at once', async () => {
    await using one = await startContainerd({ release: '2.1', files, internet })
    await using other = await startContainerd({ release: '2.1', files, internet })
    const pulling = Promise.all([one.pull(name), other.pull(name)])
    for (const share of [0.2, 0.5]) {
      await until(() => line.bytes.down > share * layer.size, { timeoutMs: 60_000 })
      line.cutAll()
    }
    await pulling
    for (const { digest } of [one, other]) assert.equal(await digest(name), image.manifest.digest)
    assert.ok(ofLayer().filter(({ status }) => status === 206).length >= 2 * 8)
    // What a cut loses is what was on its way: the windows of the connections.
    const { down } = line.bytes
    t.diagnostic(`${(down / bytesOf(image)).toFixed(3)} of the image crossed the line`)
    assert.ok(down < bytesOf(image) * 1.02 + 2 * 8 * windowBytes, `${down}`)
  })

  await t.test('the upstream is gone: what is here is taken in the same way', async () => {
    await larder.settled()
    await hub.stop()
    const before = ofLayer().length
    await using containerd = await startContainerd({ release: '2.1', files, internet })
    await containerd.pull(name)
    assert.ok(ofLayer().length > before + 1)
  })
  assert.deepEqual(internet.attempts, [])
})

function bytesOf({ config, layers, manifest }: TestImage): number {
  return [config, ...layers, manifest].reduce((sum, { size }) => sum + size, 0)
}
