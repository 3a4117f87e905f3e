/**
 * A pull of a zstd:chunked image by requests alone, as containers/storage sends them: the table of contents and the
 * tar-split behind the files, two ranges that almost touch; then what the machine lacks, in up to 1,024 ranges. With Podman
 * itself, from which these requests were taken down (5.8): test/e2e/partial-pulls.clients.ts.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage, pseudoRandomBytes } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { askRanges, type Part } from '../support/multipart.ts'
import { until } from '../support/settle.ts'

const mebibyte = 1024 * 1024
const size = 24 * mebibyte
const content = pseudoRandomBytes(size, 'chunked')
/** Bytes of the frame that comes before each of both, and of the footer, which nobody asks for. */
const frame = 8
const footer = 72
const tarSplit = { start: size - footer - 60_000, end: size - footer }
const table = { start: tarSplit.start - frame - 90_000, end: tarSplit.start - frame }
/** What the machine lacks: files all over the layer. */
const lacking = Array.from({ length: 40 }, (_, n) => {
  const start = 500_000 * n + 7919
  return { start, end: start + 12_000 + 100 * n }
})
const needed = [table, tarSplit, ...lacking].reduce((sum, { start, end }) => sum + end - start, 0)

type Span = { readonly start: number; readonly end: number }

async function start(t: TestContext, config: Readonly<Record<string, unknown>>) {
  const all = new AsyncDisposableStack()
  t.after(() => all.disposeAsync())
  const hub = all.use(await startDockerHub())
  const image = buildImage({ layers: [content] })
  hub.addImage('library/app', 'latest', image)
  const [layer] = image.layers
  assert.ok(layer)
  const mirror = all.use(await startMirror({ upstream: hub.url, config }))
  await pull(`${mirror.url}/v2/library/app/manifests/latest`)
  const url = `${mirror.url}/v2/library/app/blobs/${layer.digest}`
  return { hub, mirror, layer, url }
}

/** Fails as containers/image does where it gets other parts, or in another order, than it asked for. */
async function getBlobAt(url: string, spans: readonly Span[]): Promise<number> {
  const { status, body, parts } = await askRanges(
    url,
    `bytes=${spans.map(({ start, end }) => `${start}-${end - 1}`).join(',')}`,
  )
  assert.equal(status, 206)
  assert.deepEqual(parts.map(spanOf), spans)
  for (const { start, end, bytes } of parts) assert.ok(bytes.equals(content.subarray(start, end)))
  return body.length
}

function spanOf({ start, end }: Part): Span {
  return { start, end }
}

test('what a machine lacks of a layer costs as much, from Larder and from its upstream', async (t) => {
  const { hub, mirror, layer, url } = await start(t, { 'cache.finish': 'never' })
  const received = (await getBlobAt(url, [table, tarSplit])) + (await getBlobAt(url, lacking))
  assert.ok(received <= 1.1 * needed, `${received} of ${needed} bytes`)
  await until(async () => (await mirror.metric('larder_fills_running')) === 0)
  assert.ok(hub.bytesSent(layer.digest) <= 1.1 * needed, `${hub.bytesSent(layer.digest)} of ${needed} bytes`)
  // The next machine lacks the same, and a little more.
  await getBlobAt(url, [table, tarSplit])
  await getBlobAt(url, [...lacking, { start: 20_500_000, end: 20_510_000 }])
  assert.ok(hub.bytesSent(layer.digest) <= 1.1 * (needed + 10_000))
  // Whoever wants all of it has it, verified, and nothing of it comes twice.
  assert.equal((await pull(url)).digest, layer.digest)
  assert.equal(hub.bytesSent(layer.digest), size)
})

test('the parts come first, and the rest follows by itself', async (t) => {
  const { hub, layer, url, mirror } = await start(t, {})
  // Whatever comes from the front on is held up there.
  using front = hub.hold({ listener: 'cdn', digest: layer.digest }, mebibyte)
  await getBlobAt(url, [table, tarSplit])
  assert.ok(hub.bytesSent(layer.digest) < size / 2, `${hub.bytesSent(layer.digest)} bytes`)
  front.release()
  await until(async () => (await mirror.metric('larder_fills_running')) === 0)
  assert.equal((await pull(url)).headers['x-larder-cache'], 'hit')
})
