import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { pull } from '../support/client.ts'
import { type DockerHub, startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { beginUpload, pushBlob, pushImage, send } from '../support/push.ts'
import { until } from '../support/settle.ts'

const parts = new AsyncDisposableStack()
let hub: DockerHub
let mirror: TestMirror

before(async () => {
  hub = parts.use(await startDockerHub())
  mirror = parts.use(await startMirror({ upstream: hub.url, config: { 'local.collectAfter': '2s' } }))
})
after(() => parts.disposeAsync())

test('a blob that no manifest names goes by itself; what one names stays, and is pulled meanwhile', async () => {
  const image = buildImage({ layers: [50_000], seed: 'collected' })
  const lonely = buildImage({ layers: [70_000], seed: 'lonely' }).layers[0] ?? assert.fail()
  const repository = `${mirror.url}/v2/app`
  await pushImage(repository, 'v1', image)
  await pushBlob(repository, lonely)
  const isThere = async (digest: string) => (await pull(`${repository}/blobs/${digest}`)).status === 200
  assert.equal(await isThere(lonely.digest), true)
  await until(async () => !(await isThere(lonely.digest)))
  for (const { digest } of [image.config, ...image.layers]) assert.equal(await isThere(digest), true)
  const told = () => mirror.events('blobs that no manifest names were removed')
  await until(() => told().length > 0)
  const [event] = told()
  assert.deepEqual([event?.blobs, event?.bytes], [1, lonely.size])
  assert.equal(await mirror.metric('larder_collected_bytes_total'), lonely.size)
  assert.equal(await mirror.metric('larder_collected_blobs_total'), 1)
})

test('what a HEAD says is there, and what an upload was begun beside, is kept', async () => {
  const lonely = buildImage({ layers: [30_000], seed: 'kept' }).layers[0] ?? assert.fail()
  const repository = `${mirror.url}/v2/kept`
  await pushBlob(repository, lonely)
  const upload = await beginUpload(repository)
  const marker = buildImage({ layers: [100], seed: 'marker' }).layers[0] ?? assert.fail()
  await pushBlob(`${mirror.url}/v2/marker`, marker)
  await until(async () => (await pull(`${mirror.url}/v2/marker/blobs/${marker.digest}`)).status === 404)
  assert.equal((await send('HEAD', `${repository}/blobs/${lonely.digest}`)).status, 200)
  assert.equal((await send('DELETE', upload)).status, 204)
  await until(async () => (await pull(`${repository}/blobs/${lonely.digest}`)).status === 404)
})
