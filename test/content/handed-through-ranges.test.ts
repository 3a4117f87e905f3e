import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Pulled, pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'

const mebibyte = 1024 * 1024
/** More than waits in memory for those who read it. */
const size = 12 * mebibyte
const ranges = [
  'bytes=0-99',
  'bytes=7000000-7999999,100-199,3000000-4999999',
  'bytes=-100,0-99',
  'bytes=1000000-2999999',
  `bytes=${8 * mebibyte}-${8 * mebibyte}`,
  'bytes=-100',
]

for (const maxSize of [1_000_000, 6_000_000])
  test(`ranges of a blob that is handed through, of which ${maxSize} bytes have room: who has read one needs nothing more`, async () => {
    await using hub = await startDockerHub()
    const image = buildImage({ layers: [size] })
    hub.addImage('library/app', 'latest', image)
    const [layer] = image.layers
    assert.ok(layer)
    const config = { 'cache.maxSize': maxSize, 'cache.minFree': 0 }
    await using mirror = await startMirror({ upstream: hub.url, config })
    const url = `${mirror.url}/v2/library/app`
    await pull(`${url}/manifests/latest`)
    for (const asked of [ranges.slice(1, 2), ranges.slice(3, 4), ranges]) {
      const pulling: Promise<Pulled>[] = asked.map((range) =>
        pull(`${url}/blobs/${layer.digest}`, { headers: { range } }),
      )
      for (const pulled of await Promise.all(pulling))
        assert.deepEqual([pulled.status, pulled.isComplete], [206, true])
    }
    assert.ok((await mirror.metric('larder_handed_through_total')) > 0)
  })
