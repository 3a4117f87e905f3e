import assert from 'node:assert/strict'
import { test } from 'node:test'
import { meets } from '../support/programs.ts'
import { fileOfPage } from './support/clients-page.ts'
import { startLarder } from './support/larder-process.ts'
import { startNoInternet } from './support/no-internet.ts'
import { podmanPrograms, podmanStore } from './support/podman.ts'
import { registryPrograms, startRegistry } from './support/registry-process.ts'
import { helloImage, helloIndex } from './support/sample-images.ts'

const required = {
  programs: [...registryPrograms, ...podmanPrograms, 'buildah', 'skopeo', 'busybox'],
  root: true,
} as const
const mirrorOfHub = '/etc/containers/registries.conf.d/50-larder.conf'
const mirrorOfQuay = '/etc/containers/registries.conf.d/51-larder-quay.conf'

test('podman, buildah and skopeo pull through the mirror', { timeout: 120_000 }, async (t) => {
  if (!meets(t, required)) return
  await using registry = await startRegistry({ auth: 'token' })
  const hello = helloImage()
  const index = helloIndex()
  await registry.push('library/hello-larder', 'latest', hello)
  await registry.push('team/hello-index', 'v1', index)
  const upstreams = [
    { name: 'docker.io', url: registry.url },
    { name: 'quay.io', url: registry.url },
  ]
  await using larder = await startLarder({ upstreams })
  await using internet = await startNoInternet()
  const files = { ...fileOfPage(mirrorOfHub, larder.host), ...fileOfPage(mirrorOfQuay, larder.host) }

  await t.test('by the address of the mirror in the name', async () => {
    await using store = await podmanStore({ internet, files: {} })
    const name = `${larder.host}/library/hello-larder`
    await store.podman('pull', '--tls-verify=false', name)
    assert.equal(await store.digest(name), hello.manifest.digest)
  })

  await t.test('by registries.conf, as mirror of docker.io', async () => {
    await using store = await podmanStore({ internet, files })
    await store.podman('pull', 'docker.io/hello-larder')
    assert.equal(await store.digest('docker.io/library/hello-larder'), hello.manifest.digest)
    await store.podman('pull', 'docker.io/team/hello-index:v1')
    const format = ['--format', '{{.RepoDigests}}', 'docker.io/team/hello-index:v1']
    const digests = await store.podman('image', 'inspect', ...format)
    assert.match(digests, new RegExp(`@${index.manifest.digest}`))
  })

  await t.test('as mirror of another registry, with its name behind the address', async () => {
    await using store = await podmanStore({ internet, files })
    await store.podman('pull', 'quay.io/library/hello-larder')
    assert.equal(await store.digest('quay.io/library/hello-larder'), hello.manifest.digest)
  })

  await t.test('the upstream is gone: each of them pulls once more', async () => {
    await larder.settled()
    await registry.stop()
    await using store = await podmanStore({ internet, files })
    await store.podman('pull', 'docker.io/hello-larder')
    await store.podman('rmi', '--all', '--force')
    await store.buildah('pull', 'docker.io/library/hello-larder')
    assert.equal(await store.digest('docker.io/library/hello-larder'), hello.manifest.digest)
    const name = 'docker://docker.io/library/hello-larder'
    const found = await store.skopeo('inspect', '--no-tags', '--format', '{{.Digest}}', name)
    assert.equal(found.trim(), hello.manifest.digest)
  })
  assert.deepEqual(internet.attempts, [])
})
