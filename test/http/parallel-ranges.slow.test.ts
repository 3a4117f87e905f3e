// containerd's way with a large layer (2.1, `concurrent_layer_fetch_buffer`): it asks from the first byte on, then from
// each 8 MiB on, every time to the end, and closes the connection behind its piece. Neighbours that were thought of: the
// blob is cold, is here; a second such client; the last piece, whose last byte waits for the digest.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import { after, test } from 'node:test'
import { pull } from '../support/client.ts'
import { type DockerHub, startDockerHub } from '../support/docker-hub.ts'
import { buildImage, type TestBlob } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'
import { startSlowLine } from '../support/slow-line.ts'

// Node 24.21 does not end by itself in one of five runs after so many connections were closed in the middle of what they
// send: it spins where it cleans up behind the last event.
// Larder does not go that way: it ends by `process.exit`. Seventeen servers with 36 such connections each, half of them
// told to end in the middle of it, ended within 0.2 to 5.1 s.
after(() => setTimeout(() => process.exit(), 1000))

const step = 8 * 1024 * 1024
const size = 8 * step + 12_345
const starts = Array.from({ length: Math.ceil(size / step) }, (_, index) => index * step)

/** Takes one piece of what comes, compares it, and closes the connection: what it does with the rest is its own business. */
async function takePiece(url: string, blob: TestBlob, start: number): Promise<void> {
  const request = http.get(url, { headers: { range: `bytes=${start}-` }, agent: false })
  const [answer] = (await once(request, 'response')) as [IncomingMessage]
  assert.equal(answer.statusCode, 206)
  assert.equal(answer.headers['content-range'], `bytes ${start}-${size - 1}/${size}`)
  const expected = blob.open(start)
  let left = Math.min(step, size - start)
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    for (let at = 0; at < chunk.length && left > 0; ) {
      const piece = expected.read(Math.min(chunk.length - at, left))
      assert.ok(chunk.subarray(at, at + piece.length).equals(piece), `a byte behind ${start} is wrong`)
      at += piece.length
      left -= piece.length
    }
    if (left === 0 && start + step < size) break
  }
  request.destroy()
  assert.equal(left, 0)
}

async function pullAsContainerd(url: string, blob: TestBlob): Promise<void> {
  await Promise.all(starts.map((start) => takePiece(url, blob, start)))
}

async function start(hub: DockerHub) {
  const blob = await hub.addGeneratedBlob('library/app', { size, seed: 'parallel' })
  const mirror = await startMirror({ upstream: hub.url })
  // It asks for the manifest first.
  hub.addImage('library/app', 'latest', buildImage({ layers: [blob] }))
  await pull(`${mirror.url}/v2/library/app/manifests/latest`)
  return { blob, mirror, url: `${mirror.url}/v2/library/app/blobs/${blob.digest}` }
}

test('eight ranges at a time of a cold blob, each left behind its piece: it crosses once, and is here', async () => {
  await using line = await startSlowLine({
    rateBytesPerSecond: 20_000_000,
    delayMs: 5,
    windowBytes: 128 * 1024,
  })
  await using hub = await startDockerHub({ line })
  const { blob, mirror, url } = await start(hub)
  await using _ = mirror
  await Promise.all([pullAsContainerd(url, blob), pullAsContainerd(url, blob)])
  await until(async () => (await mirror.metric('larder_cache_blobs')) === 1)
  const { down } = line.bytes
  // Where a connection is cut short for somebody who waits elsewhere, what is on its way to us is lost: a window at most.
  assert.ok(down <= size * 1.01, `${down} of ${size}`)
  await hub.stop()
  await pullAsContainerd(url, blob)
})
