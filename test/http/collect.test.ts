import assert from 'node:assert/strict'
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { pull } from '../support/client.ts'
import { type DockerHub, startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { beginUpload, pushBlob, pushImage, send } from '../support/push.ts'
import { until } from '../support/settle.ts'

let hub: DockerHub
before(async () => {
  hub = await startDockerHub()
})
after(() => hub.close())

/** A mirror that collects soon what was pushed to one that does not: nothing goes meanwhile, however long a push takes. */
async function collecting(directory: string, push: (by: TestMirror) => Promise<void>): Promise<TestMirror> {
  {
    await using patient = await startMirror({ upstream: hub.url, directory })
    await push(patient)
  }
  return startMirror({ upstream: hub.url, directory, config: { 'local.collectAfter': '2s' } })
}

const folder = () => mkdtempDisposable(join(tmpdir(), 'larder-collect-'))

test('a blob that no manifest names goes by itself; what one names stays, and is pulled meanwhile', async () => {
  const image = buildImage({ layers: [50_000], seed: 'collected' })
  const lonely = buildImage({ layers: [70_000], seed: 'lonely' }).layers[0] ?? assert.fail()
  const isThere = async ({ url }: TestMirror, digest: string) =>
    (await pull(`${url}/v2/app/blobs/${digest}`)).status === 200
  await using data = await folder()
  await using mirror = await collecting(data.path, async (patient) => {
    await pushImage(`${patient.url}/v2/app`, 'v1', image)
    await pushBlob(`${patient.url}/v2/app`, lonely)
    assert.equal(await isThere(patient, lonely.digest), true)
  })
  await until(async () => !(await isThere(mirror, lonely.digest)))
  for (const { digest } of [image.config, ...image.layers]) assert.equal(await isThere(mirror, digest), true)
  const told = () => mirror.events('blobs that no manifest names were removed')
  await until(() => told().length > 0)
  const [event] = told()
  assert.deepEqual([event?.blobs, event?.bytes], [1, lonely.size])
  assert.equal(await mirror.metric('larder_collected_bytes_total'), lonely.size)
  assert.equal(await mirror.metric('larder_collected_blobs_total'), 1)
})

test('what a HEAD says is there, and what an upload was begun beside, is kept', async () => {
  const lonely = buildImage({ layers: [30_000], seed: 'kept' }).layers[0] ?? assert.fail()
  const marker = buildImage({ layers: [100], seed: 'marker' }).layers[0] ?? assert.fail()
  let upload = ''
  await using data = await folder()
  await using mirror = await collecting(data.path, async ({ url }) => {
    await pushBlob(`${url}/v2/kept`, lonely)
    upload = new URL(await beginUpload(`${url}/v2/kept`)).pathname
    await pushBlob(`${url}/v2/marker`, marker)
  })
  const repository = `${mirror.url}/v2/kept`
  await until(async () => (await pull(`${mirror.url}/v2/marker/blobs/${marker.digest}`)).status === 404)
  assert.equal((await send('HEAD', `${repository}/blobs/${lonely.digest}`)).status, 200)
  assert.equal((await send('DELETE', mirror.url + upload)).status, 204)
  await until(async () => (await pull(`${repository}/blobs/${lonely.digest}`)).status === 404)
})
