import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'

const image = buildImage({ layers: [5000] })
const secret = buildImage({ layers: [6000], seed: 'secret' })

/** A hub where ann may read acme/secret, and a mirror that has ann's credentials. */
async function start() {
  await using all = new AsyncDisposableStack()
  const hub = all.use(await startDockerHub({ accounts: { ann: 'canary-password' } }))
  hub.addImage('library/app', 'latest', image)
  hub.addImage('acme/secret', 'latest', secret)
  hub.setPrivate('acme/secret', ['ann'])
  const account = { username: 'ann', password: 'canary-password' }
  const config = { upstreams: [{ name: 'docker.io', url: hub.url, ...account }], 'cache.revalidate': 0 }
  const mirror = all.use(await startMirror({ config }))
  const owned = all.move()
  return { hub, mirror, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

test("what only the operator's account may read is served to nobody", async () => {
  await using s = await start()
  const [layer] = secret.layers
  assert.ok(layer)
  const paths = [
    'manifests/latest',
    `manifests/${secret.manifest.digest}`,
    `blobs/${layer.digest}`,
    'tags/list',
  ]
  for (const path of paths) {
    const { status, text } = await pull(`${s.mirror.url}/v2/acme/secret/${path}`)
    assert.equal(status, 404, path)
    assert.match(text, /acme\/secret is private/)
  }
  assert.equal(s.hub.bytesSent(layer.digest), 0)
  assert.ok(!s.mirror.log().includes('canary-password'))
})

test('a public repository is fetched with the account, which has the larger quota', async () => {
  await using s = await start()
  assert.equal((await pull(`${s.mirror.url}/v2/library/app/manifests/latest`)).digest, image.manifest.digest)
  const tokens = s.hub
    .find({ listener: 'token' })
    .map(({ url }) => new URL(url, 'http://x').searchParams.get('account'))
  assert.deepEqual(new Set(tokens), new Set([null, 'ann']))
})

test('a repository that turns private is no longer served', async () => {
  await using s = await start()
  const url = `${s.mirror.url}/v2/library/app/manifests/${image.manifest.digest}`
  assert.equal((await pull(url)).status, 200)
  s.hub.setPrivate('library/app', ['ann'])
  s.hub.expireTokens()
  assert.equal((await pull(url)).status, 404)
})

test('while the upstream is gone, what was public stays readable', async () => {
  await using s = await start()
  const url = `${s.mirror.url}/v2/library/app/manifests/latest`
  await pull(url)
  await s.hub.stop()
  assert.equal((await pull(url)).headers['x-larder-cache'], 'stale')
  assert.equal((await pull(`${s.mirror.url}/v2/acme/secret/manifests/latest`)).status, 503)
})
