import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { run } from '../support/child-process.ts'
import { meets } from '../support/programs.ts'
import { startLarder } from './support/larder-process.ts'
import { startNoInternet } from './support/no-internet.ts'
import { registryPrograms, startRegistry } from './support/registry-process.ts'
import { helloIndex, largeImage } from './support/sample-images.ts'
import { scratchFolder } from './support/scratch-folder.ts'

const required = { programs: [...registryPrograms, 'skopeo', 'busybox'] } as const

test('skopeo copies through the mirror', { timeout: 120_000 }, async (t) => {
  if (!meets(t, required)) return
  await using registry = await startRegistry({ auth: 'token' })
  const { image } = largeImage()
  const index = helloIndex()
  await registry.push('library/large-larder', 'v1', image)
  await registry.push('library/hello-index', 'latest', index)
  await using larder = await startLarder({ upstreams: [{ name: 'docker.io', url: registry.url }] })
  await using internet = await startNoInternet()
  await using scratch = await scratchFolder()
  const environment = { HOME: scratch.path, ...internet.environment }
  const skopeo = (...parameters: string[]) => run('skopeo', parameters, { environment })
  const large = `docker://${larder.host}/library/large-larder:v1`

  await t.test('to a folder: the manifest and every blob are what was pushed', async () => {
    const folder = join(scratch.path, 'dir')
    await skopeo('copy', '--src-tls-verify=false', large, `dir:${folder}`)
    for (const { digest } of [image.config, ...image.layers]) {
      assert.equal(digestOf(await readFile(join(folder, digest.replace('sha256:', '')))), digest)
    }
    assert.equal(digestOf(await readFile(join(folder, 'manifest.json'))), image.manifest.digest)
  })

  await t.test('to an OCI layout: every platform of an index', async () => {
    const folder = join(scratch.path, 'oci')
    const source = `docker://${larder.host}/hello-index`
    await skopeo('copy', '--all', '--src-tls-verify=false', source, `oci:${folder}:latest`)
    const layout = JSON.parse(await readFile(join(folder, 'index.json'), 'utf8'))
    assert.deepEqual(
      layout.manifests.map(({ digest }: { digest: string }) => digest),
      [index.manifest.digest],
    )
    for (const { config, layers, manifest } of index.images) {
      for (const { digest } of [config, manifest, ...layers]) {
        const file = join(folder, 'blobs', digest.replace(':', '/'))
        assert.equal(digestOf(await readFile(file)), digest)
      }
    }
  })

  await t.test('it reads the tags, and the digest of a tag', async () => {
    const name = `docker://${larder.host}/library/large-larder`
    const { Tags } = JSON.parse(await skopeo('list-tags', '--tls-verify=false', name))
    assert.deepEqual(Tags, ['v1'])
    const digest = await skopeo('inspect', '--tls-verify=false', '--format', '{{.Digest}}', large)
    assert.equal(digest.trim(), image.manifest.digest)
  })

  await t.test('the upstream is gone: it copies once more', async () => {
    await registry.stop()
    await skopeo('copy', '--src-tls-verify=false', large, `dir:${join(scratch.path, 'again')}`)
  })
  assert.deepEqual(internet.attempts, [])
})
