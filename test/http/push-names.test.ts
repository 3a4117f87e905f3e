/**
 * Who may push, and under which names. Thought of: names of one part, below local/, of two parts, of a registry; names
 * that an upstream has as well, before and after a push, and after one that came to nothing; patterns of one's own;
 * pushing switched off; this machine by IPv4, IPv6 and a Unix socket; another machine, a proxy on this one, a page in a
 * browser; an upstream that is gone; a restart in the middle of an upload.
 */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { blobOf, buildImage, pseudoRandomBytes } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { beginUpload, pushBlob, pushImage, send, withDigest } from '../support/push.ts'

const image = buildImage({ seed: 'names', layers: [1000] })

/** What begins an upload under a name is answered with. */
async function tryPush(url: string, name: string, headers: Record<string, string> = {}) {
  const { status, code, message } = await send('POST', `${url}/v2/${name}/blobs/uploads/`, { headers })
  return { status, code, message: message ?? '' }
}

async function folder(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'larder-push-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  return directory
}

test('names that cannot be pushed: denied, with what to do instead, and nobody is asked', async () => {
  await using hub = await startDockerHub()
  const upstreams = [
    { name: 'docker.io', url: hub.url },
    { name: 'ghcr.io', url: hub.url },
  ]
  await using mirror = await startMirror({ config: { upstreams } })
  for (const [name, from] of [
    ['library/app', 'docker.io'],
    ['owner/app', 'docker.io'],
    ['locals/app', 'docker.io'],
    ['docker.io/app', 'docker.io'],
    ['ghcr.io/local/app', 'ghcr.io'],
    ['app', 'ghcr.io', '?ns=ghcr.io'],
  ] as const) {
    const query = name === 'app' ? '?ns=ghcr.io' : ''
    const { status, code, message } = await send('POST', `${mirror.url}/v2/${name}/blobs/uploads/${query}`)
    assert.deepEqual([status, code], [403, 'DENIED'], name)
    assert.match(
      message ?? '',
      new RegExp(`to ${name}, which is mirrored from ${from}: push there, or here .*\\*, local/\\*\\*`),
    )
  }
  assert.equal((await tryPush(mirror.url, 'evil.test/app')).code, 'NAME_UNKNOWN')
  assert.equal((await tryPush(mirror.url, 'Upper')).code, 'NAME_INVALID')
  for (const name of ['app', 'my-app_1.2', 'local/app', 'local/team/app']) {
    assert.equal((await tryPush(mirror.url, name)).status, 202, name)
  }
  assert.equal(hub.count(), 0)
})

test('a name that an upstream has is mirrored until something is pushed under it', async () => {
  await using hub = await startDockerHub()
  const other = buildImage({ seed: 'upstream', layers: [500] })
  hub.addImage('library/app', 'latest', other)
  await using mirror = await startMirror({ upstream: hub.url })
  const repository = `${mirror.url}/v2/app`
  const latest = async () => (await pull(`${repository}/manifests/latest`)).digest
  assert.equal(await latest(), other.manifest.digest)
  // A push that comes to nothing changes nothing.
  await pushBlob(repository, image.config)
  await beginUpload(repository)
  assert.equal(await latest(), other.manifest.digest)
  await pushImage(repository, 'v1', image)
  const asked = hub.count()
  assert.equal((await pull(`${repository}/manifests/latest`)).status, 404, 'local or mirrored, never both')
  assert.equal((await pull(`${repository}/manifests/v1`)).digest, image.manifest.digest)
  assert.equal(hub.count(), asked, 'its name does not leave the house')
  assert.equal((await pull(`${mirror.url}/v2/library/app/manifests/latest`)).digest, other.manifest.digest)
  assert.equal((await pull(`${repository}/manifests/latest?ns=docker.io`)).digest, other.manifest.digest)
})

test('names that a pattern sets aside are never asked for, and one of one part is an upstream’s until it is pushed', async () => {
  await using hub = await startDockerHub()
  hub.addImage('local/app', 'latest', image)
  hub.addImage('team-a/app', 'latest', image)
  await using mirror = await startMirror({
    upstream: hub.url,
    config: { 'local.repositories': ['*', '**', 'local/**', 'team-*/app'] },
  })
  for (const name of ['local/app', 'team-a/app', 'local%2fapp']) {
    for (const path of ['manifests/latest', 'tags/list', `blobs/${image.config.digest}`]) {
      const { status, code, message } = await send('GET', `${mirror.url}/v2/${name}/${path}`)
      assert.deepEqual([status, code], [404, 'NAME_UNKNOWN'], `${name}/${path}`)
      assert.match(message ?? '', /nothing was pushed to .* yet/)
    }
  }
  assert.equal(hub.count(), 0)
  const named = `${mirror.url}/v2/local/app/manifests/latest?ns=docker.io`
  assert.equal((await pull(named)).digest, image.manifest.digest, 'unless the request names it')
  hub.addImage('owner/app', 'latest', image)
  assert.equal(
    (await pull(`${mirror.url}/v2/owner/app/manifests/latest`)).status,
    200,
    '** sets nothing aside',
  )
  await pushImage(`${mirror.url}/v2/local%2fapp`, 'v1', image)
  assert.equal((await pull(`${mirror.url}/v2/local/app/manifests/v1`)).digest, image.manifest.digest)
  await pushImage(`${mirror.url}/v2/local/app`, 'v2', image)
  assert.equal(mirror.events().filter(({ msg }) => `${msg}`.includes('to this mirror alone')).length, 1)
  const [pushed] = mirror.events('pushed')
  assert.deepEqual(
    [pushed?.client, pushed?.repository, pushed?.reference, pushed?.digest],
    ['127.0.0.1', 'local/app', 'v1', image.manifest.digest],
  )
})

test('whoever is about to push hears what is in the repository, not what an upstream has', async () => {
  await using hub = await startDockerHub()
  hub.addImage('library/app', 'latest', image)
  await using mirror = await startMirror({ upstream: hub.url })
  const repository = `${mirror.url}/v2/app`
  await pull(`${repository}/manifests/latest`)
  const [layer] = image.layers
  assert.ok(layer)
  const has = async () => (await send('HEAD', `${repository}/blobs/${layer.digest}`)).status
  assert.equal(await has(), 404)
  await pushImage(repository, 'mine', image)
  assert.equal(await has(), 200)
})

test('patterns of one’s own, and none', async () => {
  for (const [patterns, pushable, not] of [
    [['team-*/app'], ['team-a/app', 'team-b1/app'], ['team-a/other', 'team-a', 'a/team-a/app', 'app']],
    [['**'], ['a', 'library/app', 'a/b/c'], []],
    [['a/*/c'], ['a/b/c'], ['a/b/b/c', 'a/c']],
    [[], [], ['app', 'local/app']],
  ] as const) {
    await using mirror = await startMirror({
      upstream: 'http://127.0.0.1:9',
      config: { 'local.repositories': patterns },
    })
    for (const name of pushable) assert.equal((await tryPush(mirror.url, name)).status, 202, name)
    for (const name of not) assert.equal((await tryPush(mirror.url, name)).status, 403, name)
  }
})

test('pushing is switched off: denied, and what was pushed before is still there', async (t) => {
  const directory = await folder(t)
  const options = { upstream: 'http://127.0.0.1:9', directory }
  {
    await using mirror = await startMirror(options)
    await pushImage(`${mirror.url}/v2/app`, 'v1', image)
  }
  await using mirror = await startMirror({ ...options, config: { 'local.push': 'off' } })
  const { status, code, message } = await tryPush(mirror.url, 'app')
  assert.deepEqual([status, code], [403, 'DENIED'])
  assert.match(message, /switched off.*local\.push/)
  assert.equal((await pull(`${mirror.url}/v2/app/manifests/v1`)).digest, image.manifest.digest)
})

test('only this machine may push', async (t) => {
  const socketPath = join(await folder(t), 'larder.sock')
  const [other] = Object.values(networkInterfaces())
    .flat()
    .filter((address) => address?.internal === false && address.family === 'IPv4')
  const listen = [':0', `unix:${socketPath}`]
  await using mirror = await startMirror({
    upstream: 'http://127.0.0.1:9',
    config: { 'server.listen': listen, 'local.push': 'this-machine' },
  })
  for (const host of ['127.0.0.1', '127.8.9.1', '[::1]']) {
    assert.equal((await tryPush(`http://${host}:${mirror.port}`, 'app')).status, 202, host)
  }
  const unix = await send('POST', 'http://larder/v2/app/blobs/uploads/', { socketPath })
  assert.equal(unix.status, 202)
  for (const headers of [
    { 'x-forwarded-for': '10.0.0.1' },
    { forwarded: 'for=10.0.0.1' },
    { 'x-real-ip': '10.0.0.1' },
    { via: '1.1 proxy' },
    ...[
      'x-original-forwarded-for',
      'x-forwarded-host',
      'x-client-ip',
      'x-cluster-client-ip',
      'true-client-ip',
      'cf-connecting-ip',
      'fly-client-ip',
    ].map((header) => ({ [header]: '10.0.0.1' })),
    { origin: 'http://127.0.0.1:5000' },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
    // A name of elsewhere that leads here, for a page in a browser.
    { host: 'mirror.example.com:5000' },
  ]) {
    const { status, code } = await tryPush(mirror.url, 'app', headers as unknown as Record<string, string>)
    assert.deepEqual([status, code], [403, 'DENIED'], Object.keys(headers)[0])
  }
  if (!other) return t.diagnostic('this machine has no address that another one could have')
  const url = `http://${other.address}:${mirror.port}`
  const { status, code, message } = await tryPush(url, 'app')
  assert.deepEqual([status, code], [403, 'DENIED'])
  assert.match(message, /only the machine that this mirror runs on may push.*127\.0\.0\.1/)
  for (const [method, path] of [
    ['PATCH', 'blobs/uploads/upload-1'],
    ['PUT', 'blobs/uploads/upload-1'],
    ['GET', 'blobs/uploads/upload-1'],
    ['PUT', 'manifests/v1'],
  ] as const) {
    assert.equal((await send(method, `${url}/v2/app/${path}`)).status, 403, `${method} ${path}`)
  }
  await pushImage(`${mirror.url}/v2/app`, 'v1', image)
  assert.equal((await pull(`${url}/v2/app/manifests/v1`)).status, 200, 'everybody may pull')
})

test('without any network an image is pushed and pulled again', async () => {
  await using mirror = await startMirror({ upstream: 'http://127.0.0.1:9' })
  const repository = `${mirror.url}/v2/local/offline`
  const [layer] = image.layers
  assert.equal((await send('HEAD', `${repository}/blobs/${layer?.digest}`)).status, 404)
  await pushImage(repository, 'v1', image)
  assert.equal((await pull(`${repository}/manifests/v1`)).digest, image.manifest.digest)
})

test('a restart in the middle of an upload: it goes on where it was', async (t) => {
  const directory = await folder(t)
  const options = { upstream: 'http://127.0.0.1:9', directory }
  const blob = blobOf(pseudoRandomBytes(2_000_000, 'restart'))
  let path = ''
  {
    await using mirror = await startMirror(options)
    const url = await beginUpload(`${mirror.url}/v2/app`)
    await send('PATCH', url, { body: blob.bytes.subarray(0, 1_200_000) })
    path = new URL(url).pathname
  }
  await using mirror = await startMirror(options)
  const url = mirror.url + path
  assert.equal((await send('GET', url)).headers.range, '0-1199999')
  const rest = await send('PATCH', url, {
    body: blob.bytes.subarray(1_200_000),
    headers: { 'content-range': '1200000-1999999' },
  })
  assert.equal(rest.status, 202)
  assert.equal((await send('PUT', withDigest(url, blob.digest))).status, 201)
  assert.equal((await pull(`${mirror.url}/v2/app/blobs/${blob.digest}`)).digest, blob.digest)
})
