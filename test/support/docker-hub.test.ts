import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { type DockerHub, startDockerHub } from './docker-hub.ts'
import { buildImage, buildIndex, mediaTypes } from './images.ts'
import { until } from './settle.ts'

const name = 'library/alpine'

async function token(hub: DockerHub, repository = name, login?: string): Promise<string> {
  const scope = encodeURIComponent(`repository:${repository}:pull`)
  const headers = login ? { authorization: `Basic ${btoa(login)}` } : {}
  const response = await fetch(`${hub.tokenUrl}/token?service=registry.docker.io&scope=${scope}`, { headers })
  assert.equal(response.status, 200)
  return ((await response.json()) as { token: string }).token
}

/** The one error of an errors document. */
async function errorOf(response: Response): Promise<{ code: string; message: string }> {
  const { errors } = (await response.json()) as { errors: [{ code: string; message: string }] }
  return errors[0]
}

/** Asks the registry with a new token, and follows no redirect. */
async function ask(hub: DockerHub, path: string, init: RequestInit = {}, login?: string): Promise<Response> {
  const authorization = `Bearer ${await token(hub, name, login)}`
  return fetch(`${hub.url}/v2/${name}${path}`, {
    redirect: 'manual',
    ...init,
    headers: { authorization, ...init.headers },
  })
}

test('a pull goes from challenge to token to manifest to CDN', async () => {
  await using hub = await startDockerHub()
  const image = buildImage({ layers: [100_000], seed: 1 })
  hub.addImage(name, 'latest', image)

  const challenged = await fetch(`${hub.url}/v2/${name}/manifests/latest`)
  assert.equal(challenged.status, 401)
  assert.equal(
    challenged.headers.get('www-authenticate'),
    `Bearer realm="${hub.tokenUrl}/token",service="registry.docker.io",scope="repository:${name}:pull"`,
  )
  assert.equal((await errorOf(challenged)).code, 'UNAUTHORIZED')

  const manifest = await ask(hub, '/manifests/latest')
  assert.equal(manifest.status, 200)
  assert.equal(manifest.headers.get('docker-content-digest'), image.manifest.digest)
  assert.equal(manifest.headers.get('content-type'), mediaTypes.oci.manifest)
  assert.equal(manifest.headers.get('ratelimit-limit'), null)
  assert.equal(digestOf(await manifest.bytes()), image.manifest.digest)

  const [layer] = image.layers
  assert.ok(layer)
  const redirect = await ask(hub, `/blobs/${layer.digest}`)
  assert.equal(redirect.status, 307)
  const location = redirect.headers.get('location') ?? ''
  assert.ok(location.startsWith(`${hub.cdnUrl}/`))
  const blob = await fetch(location)
  assert.equal(blob.headers.get('content-length'), '100000')
  assert.equal(digestOf(await blob.bytes()), layer.digest)
  assert.equal((await fetch(location, { headers: { authorization: 'Bearer x' } })).status, 400)
  assert.equal((await fetch(`${location}x`)).status, 200, 'the key pair id is not signed')
  assert.equal((await fetch(location.replace('Signature=', 'Signature=x'))).status, 403)

  await until(() => hub.find({}).every((request) => request.ended))
  assert.equal(hub.bytesSent(layer.digest), 200_000)
  assert.equal(hub.bytesSent(image.manifest.digest), image.manifest.size)
  assert.equal(hub.bytesSent(), 200_000 + image.manifest.size)
  assert.equal(hub.count({ listener: 'registry', path: /\/manifests\// }), 2)
  assert.equal(hub.count({ listener: 'token' }), 2)
  assert.equal(hub.tokensIssued, 2)
  assert.equal(hub.count({ listener: 'cdn', status: 403, digest: layer.digest }), 1)
  assert.equal(hub.find({ status: 400 })[0]?.headers.authorization, 'Bearer x')
  hub.reset()
  assert.deepEqual([hub.count(), hub.bytesSent(), hub.tokensIssued], [0, 0, 0])
})

test('manifests: HEAD, by digest, by Accept, unknown', async () => {
  await using hub = await startDockerHub()
  const index = buildIndex([buildImage({ seed: 1 }), buildImage({ seed: 2 })], { mediaTypes: 'docker' })
  hub.addImage(name, '3', index)
  const head = await ask(hub, '/manifests/3', { method: 'HEAD' })
  assert.equal(head.headers.get('content-length'), String(index.manifest.size))
  assert.equal(head.headers.get('docker-content-digest'), index.manifest.digest)
  for (const { digest } of [index.manifest, ...index.images.map((image) => image.manifest)]) {
    assert.equal(digestOf(await (await ask(hub, `/manifests/${digest}`)).bytes()), digest)
  }
  const narrow = await ask(hub, '/manifests/3', { headers: { accept: mediaTypes.oci.manifest } })
  assert.equal(narrow.status, 404)
  const wide = await ask(hub, '/manifests/3', {
    headers: { accept: `${mediaTypes.oci.manifest}, ${mediaTypes.docker.index};q=0.5` },
  })
  assert.equal(wide.status, 200)
  hub.tag(name, '4', index.manifest.digest)
  hub.removeTag(name, '3')
  assert.equal((await ask(hub, '/manifests/4')).status, 200)
  const gone = await ask(hub, '/manifests/3')
  assert.equal(gone.status, 404)
  assert.equal((await errorOf(gone)).code, 'MANIFEST_UNKNOWN')
})

test('ranges of a blob, direct and generated', async () => {
  await using hub = await startDockerHub({ cdn: false, auth: 'none' })
  const blob = await hub.addGeneratedBlob(name, { size: 700_000, seed: 3 })
  const { bytes } = blob
  const get = (headers: Record<string, string>) =>
    fetch(`${hub.url}/v2/${name}/blobs/${blob.digest}`, { headers })
  const etag = (await get({ range: 'bytes=0-0' })).headers.get('etag') ?? ''
  const cases: [Record<string, string>, number, string | null, number, number][] = [
    [{ range: 'bytes=300000-' }, 206, 'bytes 300000-699999/700000', 300_000, 700_000],
    [{ range: 'bytes=5-9' }, 206, 'bytes 5-9/700000', 5, 10],
    [{ range: 'bytes=699990-9999999' }, 206, 'bytes 699990-699999/700000', 699_990, 700_000],
    [{ range: 'bytes=-10' }, 206, 'bytes 699990-699999/700000', 699_990, 700_000],
    [{ range: 'bytes=700000-' }, 416, 'bytes */700000', 0, 0],
    [{ range: 'bytes=0-1,5-6' }, 200, null, 0, 700_000],
    [{ range: 'bytes=9-5' }, 200, null, 0, 700_000],
    [{ range: 'bytes=5-', 'if-range': '"other"' }, 200, null, 0, 700_000],
    [{ range: 'bytes=5-', 'if-range': etag }, 206, 'bytes 5-699999/700000', 5, 700_000],
  ]
  for (const [headers, status, contentRange, start, end] of cases) {
    const response = await get(headers)
    assert.equal(response.status, status, headers.range)
    assert.equal(response.headers.get('content-range'), contentRange)
    assert.deepEqual(await response.bytes(), new Uint8Array(bytes.subarray(start, end)))
  }
  const head = await fetch(`${hub.url}/v2/${name}/blobs/${blob.digest}`, { method: 'HEAD' })
  assert.equal(head.headers.get('content-length'), '700000')
})

test('signed addresses and tokens expire, by time and by command', async () => {
  await using hub = await startDockerHub({ urlLifetimeMs: 40 })
  const blob = hub.addBlob(name, new Uint8Array(10))
  const location = (await ask(hub, `/blobs/${blob.digest}`)).headers.get('location') ?? ''
  await until(async () => (await fetch(location)).status === 403)

  await using hasty = await startDockerHub({ tokenLifetimeSeconds: 0.04 })
  hasty.addBlob(name, new Uint8Array(10))
  const path = `${hasty.url}/v2/${name}/blobs/${blob.digest}`
  const manual = { redirect: 'manual' as const, headers: { authorization: `Bearer ${await token(hasty)}` } }
  await until(async () => (await fetch(path, manual)).status === 401)

  await using other = await startDockerHub()
  other.addBlob(name, new Uint8Array(10))
  const fresh = (await ask(other, `/blobs/${blob.digest}`)).headers.get('location') ?? ''
  assert.equal((await fetch(fresh, { method: 'HEAD' })).status, 200)
  other.expireUrls()
  assert.equal((await fetch(fresh)).status, 403)
  const headers = { authorization: `Bearer ${await token(other)}` }
  assert.equal((await fetch(`${other.url}/v2/`, { headers })).status, 200)
  other.expireTokens()
  const refused = await fetch(`${other.url}/v2/`, { headers })
  assert.match(refused.headers.get('www-authenticate') ?? '', /error="invalid_token"/)
})

test('private repositories need an account that may read them', async () => {
  await using hub = await startDockerHub({ accounts: { ann: 'secret', bob: 'hidden' } })
  hub.addImage(name, 'latest', buildImage())
  hub.setPrivate(name, ['ann'])
  assert.equal((await ask(hub, '/manifests/latest')).status, 401)
  assert.equal((await ask(hub, '/manifests/latest', {}, 'bob:hidden')).status, 401)
  assert.equal((await ask(hub, '/manifests/latest', {}, 'ann:secret')).status, 200)
  hub.setPrivate(name)
  assert.equal((await ask(hub, '/manifests/latest', {}, 'bob:hidden')).status, 200)
  hub.setPublic(name)
  assert.equal((await ask(hub, '/manifests/latest')).status, 200)
  const wrong = await fetch(`${hub.tokenUrl}/token`, {
    headers: { authorization: `Basic ${btoa('ann:no')}` },
  })
  assert.equal(wrong.status, 401)
  const form = new URLSearchParams({ grant_type: 'password', username: 'ann', password: 'secret' })
  const posted = await fetch(`${hub.tokenUrl}/token`, { method: 'POST', body: form })
  assert.equal(((await posted.json()) as { expires_in: number }).expires_in, 300)
})

test('what does not exist is denied, or unknown where so set', async () => {
  await using hub = await startDockerHub()
  assert.equal((await ask(hub, '/manifests/latest')).status, 401)
  await using open = await startDockerHub({ unknownRepository: 'unknown' })
  const response = await ask(open, '/manifests/latest')
  assert.equal(response.status, 404)
  assert.equal((await errorOf(response)).code, 'NAME_UNKNOWN')
})

test('Basic authentication', async () => {
  await using hub = await startDockerHub({ auth: 'basic', accounts: { ann: 'secret' } })
  hub.addImage(name, 'latest', buildImage())
  const url = `${hub.url}/v2/${name}/manifests/latest`
  assert.equal((await fetch(url)).headers.get('www-authenticate'), 'Basic realm="Registry"')
  const headers = { authorization: `Basic ${btoa('ann:secret')}` }
  assert.equal((await fetch(url, { headers })).status, 200)
  assert.equal(hub.count({ listener: 'token' }), 0)
})

test('the quota counts GETs of manifests only', async () => {
  await using hub = await startDockerHub({ quota: 100 })
  hub.addImage(name, 'latest', buildImage())
  const remaining = async (method: string) => (await ask(hub, '/manifests/latest', { method })).headers
  assert.equal((await remaining('HEAD')).get('ratelimit-remaining'), '100;w=21600')
  assert.equal((await remaining('GET')).get('ratelimit-remaining'), '99;w=21600')
  assert.equal((await remaining('HEAD')).get('ratelimit-remaining'), '99;w=21600')
  hub.setRemaining(0)
  assert.equal((await remaining('HEAD')).get('ratelimit-limit'), '100;w=21600')
  const refused = await ask(hub, '/manifests/latest')
  assert.equal(refused.status, 429)
  const error = await errorOf(refused)
  assert.equal(error.code, 'TOOMANYREQUESTS')
  assert.match(error.message, /^You have reached your pull rate limit/)
})

test('tags are paged; referrers are there where so set', async () => {
  await using hub = await startDockerHub({ referrers: true })
  const image = buildImage()
  for (const tag of ['c', 'a', 'b']) hub.addImage(name, tag, image)
  const first = await ask(hub, '/tags/list?n=2')
  assert.deepEqual(await first.json(), { name, tags: ['a', 'b'] })
  assert.equal(first.headers.get('link'), `</v2/${name}/tags/list?last=b&n=2>; rel="next"`)
  const second = await ask(hub, '/tags/list?last=b&n=2')
  assert.deepEqual(await second.json(), { name, tags: ['c'] })
  assert.equal(second.headers.get('link'), null)
  const artifact = buildImage({ subject: image.manifest, artifactType: 'application/example' })
  hub.addImage(name, undefined, artifact)
  const referrers = await ask(hub, `/referrers/${image.manifest.digest}`)
  const { manifests } = (await referrers.json()) as { manifests: { digest: string; artifactType: string }[] }
  const [entry] = manifests
  assert.equal(entry?.digest, artifact.manifest.digest)
  assert.equal(entry?.artifactType, 'application/example')
})

test('listeners have their own hosts; the hub goes and comes back at the same ports', async () => {
  await using hub = await startDockerHub({ hosts: { cdn: '127.0.0.2', token: 'localhost' }, auth: 'none' })
  const blob = hub.addBlob(name, new Uint8Array([1, 2, 3]))
  assert.equal(new URL(hub.tokenUrl).hostname, 'localhost')
  assert.equal(new URL(hub.cdnUrl).hostname, '127.0.0.2')
  const url = `${hub.url}/v2/${name}/blobs/${blob.digest}`
  assert.deepEqual(await (await fetch(url)).bytes(), new Uint8Array([1, 2, 3]))
  await hub.stop()
  await assert.rejects(fetch(url))
  await hub.start()
  assert.deepEqual(await (await fetch(url)).bytes(), new Uint8Array([1, 2, 3]))
})
