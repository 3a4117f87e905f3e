import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { Pauses } from '../support/pauses.ts'
import { startSlowLine } from '../support/slow-line.ts'
import { startLarder } from './support/larder-process.ts'

const image = buildImage({ layers: [6_000_000, 3_000_000, 1_000_000] })

test('ten machines pull the same new image over a slow line: it crosses once, in the time that one takes', {
  timeout: 60_000,
}, async (t) => {
  const alone = await pullTogether(t, 1)
  const together = await pullTogether(t, 10)
  const [first, last] = [Math.min(...together), Math.max(...together)]
  assert.ok(last < Math.max(...alone) * 1.5, `${last} ms, where one alone takes ${alone} ms`)
  assert.ok(last < first * 1.1, `${last} ms, where the first one took ${first} ms`)
})

/** The milliseconds that each of some machines takes to pull an image through a mirror that has nothing yet. */
async function pullTogether(t: TestContext, machines: number): Promise<number[]> {
  await using line = await startSlowLine({ rateBytesPerSecond: 4_000_000, delayMs: 50 })
  await using hub = await startDockerHub({ line })
  hub.addImage('library/app', 'v1', image)
  await using mirror = await startLarder({ upstreams: [{ name: 'docker.io', url: hub.url }] })
  using pauses = new Pauses()
  const startedAt = performance.now()
  const times = await Promise.all(
    Array.from({ length: machines }, async () => {
      await pullImage(mirror.url)
      // The line and the machines are in this process: where it cannot run, nobody is slow.
      return performance.now() - startedAt - pauses.longestSince(startedAt)
    }),
  )
  for (const { digest, size } of image.layers) assert.equal(hub.bytesSent(digest), size)
  t.diagnostic(`${machines} machines: ${times.map(Math.round).join(', ')} ms`)
  return times
}

async function pullImage(base: string): Promise<void> {
  const manifest = await pull(`${base}/v2/library/app/manifests/v1`)
  assert.equal(manifest.digest, image.manifest.digest)
  for (const { digest } of image.layers) {
    assert.equal((await pull(`${base}/v2/library/app/blobs/${digest}`)).digest, digest)
  }
}
