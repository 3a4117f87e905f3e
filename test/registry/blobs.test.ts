import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { blobOf, buildImage, pseudoRandomBytes } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'

test('a stored blob is not readable through a repository that does not have it', async () => {
  await using hub = await startDockerHub()
  const secret = hub.addBlob('acme/secret', pseudoRandomBytes(200_000, 'secret'))
  hub.addImage('library/alpine', 'latest', buildImage())
  await using mirror = await startMirror({ upstream: hub.url })
  assert.equal((await pull(`${mirror.url}/v2/acme/secret/blobs/${secret.digest}`)).status, 200)
  for (const name of ['library/alpine', 'library/unknown']) {
    const { status, text } = await pull(`${mirror.url}/v2/${name}/blobs/${secret.digest}`)
    assert.equal(status, 404)
    assert.equal(JSON.parse(text).errors[0].code, 'BLOB_UNKNOWN')
  }
  assert.equal(hub.bytesSent(secret.digest), secret.size)
})

test('a blob on its way is not readable through a repository that does not have it', async () => {
  await using hub = await startDockerHub()
  const secret = hub.addBlob('acme/secret', pseudoRandomBytes(200_000, 'secret'))
  hub.addImage('library/alpine', 'latest', buildImage())
  await using mirror = await startMirror({ upstream: hub.url })
  using hold = hub.hold({ listener: 'cdn', digest: secret.digest }, 100_000)
  const pulling = pull(`${mirror.url}/v2/acme/secret/blobs/${secret.digest}`)
  await hold.reached
  // Who got its bytes would get no end of them.
  const { status } = await pull(`${mirror.url}/v2/library/alpine/blobs/${secret.digest}`, { leaveAfter: 1 })
  assert.equal(status, 404)
  hold.release()
  assert.equal((await pulling).digest, secret.digest)
})

test('a stored blob that the upstream confirms for another repository is served without a byte', async () => {
  await using hub = await startDockerHub()
  const bytes = pseudoRandomBytes(200_000, 'shared')
  const shared = hub.addBlob('library/one', bytes)
  hub.addBlob('library/two', bytes)
  await using mirror = await startMirror({ upstream: hub.url })
  await pull(`${mirror.url}/v2/library/one/blobs/${shared.digest}`)
  await until(async () => (await mirror.metric('larder_fills_running')) === 0)
  const two = await pull(`${mirror.url}/v2/library/two/blobs/${shared.digest}`)
  assert.deepEqual([two.digest, two.headers['x-larder-cache']], [shared.digest, 'hit'])
  assert.equal(hub.bytesSent(shared.digest), shared.size)
  hub.reset()
  await pull(`${mirror.url}/v2/library/two/blobs/${shared.digest}`)
  assert.equal(hub.count(), 0)
})

test('the same name at two upstreams is two repositories', async () => {
  await using hub = await startDockerHub()
  await using quay = await startDockerHub()
  hub.addImage('acme/app', 'latest', buildImage({ seed: 'hub' }))
  const image = buildImage({ seed: 'quay' })
  quay.addImage('acme/app', 'latest', image)
  await using mirror = await startMirror({
    config: {
      upstreams: [
        { name: 'docker.io', url: hub.url },
        { name: 'quay.io', url: quay.url },
      ],
    },
  })
  const [one, other, byPath] = await Promise.all(
    [
      'acme/app/manifests/latest',
      'acme/app/manifests/latest?ns=quay.io',
      'quay.io/acme/app/manifests/latest',
    ].map((path) => pull(`${mirror.url}/v2/${path}`)),
  )
  assert.notEqual(one?.digest, image.manifest.digest)
  assert.deepEqual([other?.digest, byPath?.digest], [image.manifest.digest, image.manifest.digest])
  assert.equal(other?.headers['oci-namespace'], 'quay.io')
})

test('an unknown blob is 404 and remembered', async () => {
  await using hub = await startDockerHub()
  hub.addImage('library/app', 'latest', buildImage())
  await using mirror = await startMirror({ upstream: hub.url })
  const url = `${mirror.url}/v2/library/app/blobs/sha256:${'a'.repeat(64)}`
  assert.equal((await pull(url)).status, 404)
  hub.reset()
  assert.equal((await pull(url)).status, 404)
  assert.equal(hub.count(), 0)
})

test('a manifest with `urls` sends nobody there: its layers come from the upstream, or not at all', async (t) => {
  const asked: unknown[] = []
  const elsewhere = createServer((request, response) => {
    asked.push(request.url)
    response.end('anything')
  })
  await new Promise<void>((resolve) => elsewhere.listen(0, '127.0.0.1', resolve))
  t.after(() => elsewhere.close())
  const { port } = elsewhere.address() as AddressInfo
  await using hub = await startDockerHub()
  const { config, layers } = buildImage({ layers: [3000, 4000] })
  const [foreign, own] = layers.map((layer) => ({
    mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
    digest: layer.digest,
    size: layer.size,
    urls: [`http://127.0.0.1:${port}/${layer.digest}`],
  }))
  const mediaType = 'application/vnd.docker.distribution.manifest.v2+json'
  const { digest, size } = config
  const document = {
    schemaVersion: 2,
    mediaType,
    config: { mediaType: config.mediaType, digest, size },
    layers: [foreign, own],
  }
  hub.addManifest('library/app', blobOf(Buffer.from(JSON.stringify(document)), mediaType), 'latest')
  if (layers[1]) hub.addBlob('library/app', layers[1])
  await using mirror = await startMirror({ upstream: hub.url })
  const app = `${mirror.url}/v2/library/app`
  assert.equal((await pull(`${app}/manifests/latest`)).status, 200)
  for (const method of ['HEAD', 'GET']) {
    assert.equal((await pull(`${app}/blobs/${foreign?.digest}`, { method })).status, 404, method)
    assert.equal((await pull(`${app}/blobs/${own?.digest}`, { method })).status, 200, method)
  }
  assert.deepEqual(asked, [])
})
