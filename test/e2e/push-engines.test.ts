// Images that engines build and push: what each makes of its own, pulled again by another one.
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { meets } from '../support/programs.ts'
import { pushImage, pushManifest } from '../support/push.ts'
import { containerdPrograms, startContainerd } from './support/containerd.ts'
import { startLarder } from './support/larder-process.ts'
import { startNoInternet } from './support/no-internet.ts'
import { podmanPrograms, podmanStore } from './support/podman.ts'
import { helloIndex, ownImage } from './support/sample-images.ts'
import { scratchFolder } from './support/scratch-folder.ts'

const alone = { upstreams: [{ name: 'docker.io', url: 'http://127.0.0.1:9' }] }

test('buildah builds and pushes an image; it and podman push an index', { timeout: 120_000 }, async (t) => {
  if (!meets(t, { programs: [...podmanPrograms, 'buildah', 'skopeo', 'busybox'], root: true })) return
  await using larder = await startLarder(alone)
  await using internet = await startNoInternet()
  await using scratch = await scratchFolder()
  await using store = await podmanStore({ internet, files: {} })
  await pushImage(`${larder.url}/v2/base`, 'v1', ownImage())
  const here = (name: string) => `docker://${larder.host}/${name}`
  await writeFile(
    join(scratch.path, 'Containerfile'),
    `FROM ${larder.host}/base:v1\nCOPY Containerfile /about\n`,
  )
  await store.buildah('bud', '--tls-verify=false', '--tag', 'built', scratch.path)
  await store.buildah('push', '--tls-verify=false', 'built', here('built:v1'))
  // Layers of the base are not sent again.
  const sent = larder
    .requests()
    .filter(({ method, url }) => method === 'PATCH' && url.startsWith('/v2/built/'))
  assert.equal(sent.length, 2, 'the new layer and the configuration')

  for (const program of ['buildah', 'podman'] as const) {
    const list = `${program}-index`
    await store[program]('manifest', 'create', list)
    for (const part of ['base:v1', 'built:v1']) {
      await store[program]('manifest', 'add', '--tls-verify=false', list, here(part))
    }
    await store[program]('manifest', 'push', '--all', '--tls-verify=false', list, here(`${list}:v1`))
    const { status, text } = await pull(`${larder.url}/v2/${list}/manifests/v1`)
    assert.equal(status, 200, text)
    assert.equal(JSON.parse(text).manifests.length, 2, text)
  }
  assert.deepEqual(internet.attempts, [])
})

test('containerd pushes an image and an index, and pulls them again', { timeout: 120_000 }, async (t) => {
  if (!meets(t, { programs: [...containerdPrograms, 'busybox'], root: true })) return
  await using larder = await startLarder(alone)
  await using internet = await startNoInternet()
  await using containerd = await startContainerd({ internet, files: {} })
  const index = helloIndex()
  const seed = `${larder.url}/v2/seed`
  for (const image of index.images) await pushImage(seed, image.manifest.digest, image)
  await pushManifest(seed, 'v1', index.manifest)
  const [from, to] = [`${larder.host}/seed:v1`, `${larder.host}/local/pushed:v1`]
  await containerd.ctr('images', 'pull', '--plain-http', '--all-platforms', from)
  await containerd.ctr('images', 'push', '--plain-http', to, from)
  await containerd.ctr('images', 'remove', '--sync', from)
  await containerd.ctr('images', 'pull', '--plain-http', '--all-platforms', to)
  assert.equal(await containerd.digest(to), index.manifest.digest)
  assert.deepEqual(internet.attempts, [])
})
