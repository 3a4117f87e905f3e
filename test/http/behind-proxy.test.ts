/**
 * A mirror that is told by which proxies it is asked. Thought of: who is in the log, who counts for the bounds, who may
 * push; a proxy that nobody named, and a line that says so, once; headers of a client beside a named proxy; Location and
 * Link by the address that the client used, with a prefix, by the configured one; a Unix socket.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { pushImage, send, withDigest } from '../support/push.ts'
import { until } from '../support/settle.ts'
import { connected, get } from './request-log-fixture.ts'

const image = buildImage({ seed: 'behind', layers: [1000] })
const trusting = { 'server.trustProxy': ['127.0.0.1'] }
const upstream = 'http://127.0.0.1:9'

const warnings = (mirror: TestMirror) =>
  mirror.events().filter(({ msg }) => String(msg).startsWith('a web server says that it asks'))

test('the log and the line of a pull have the client that a trusted proxy tells, and no other', async () => {
  await using hub = await startDockerHub()
  hub.addImage('library/app', 'latest', image)
  await using mirror = await startMirror({ upstream: hub.url, config: trusting, pullIdleMs: 100 })
  const ask = async (path: string, headers: Record<string, string>) =>
    (await pull(`${mirror.url}/v2/library/app/${path}`, { headers })).status
  const headers = { 'x-forwarded-for': '10.1.1.1, 192.0.2.7' }
  await ask('manifests/latest', headers)
  for (const { digest } of [image.config, ...image.layers])
    assert.equal(await ask(`blobs/${digest}`, headers), 200)
  await ask('manifests/latest', { 'x-forwarded-for': '2001:db8::7' })
  await ask('manifests/latest', {})
  const pulls = () => mirror.events().filter(({ outcome }) => outcome !== undefined)
  await until(() => pulls().length > 0 && mirror.events('request').length === 5)
  assert.deepEqual(
    new Set(mirror.events('request').map(({ client, forwardedFor }) => `${client} ${forwardedFor}`)),
    new Set(['192.0.2.7 undefined', '2001:db8::7 undefined', '127.0.0.1 undefined']),
  )
  assert.equal(pulls()[0]?.client, '192.0.2.7')
  assert.equal(warnings(mirror).length, 0)
})

test('headers of a proxy that nobody named change nothing, and one line says what to set', async () => {
  await using mirror = await startMirror({ upstream })
  const headers = {
    'x-forwarded-for': '192.0.2.7',
    'x-forwarded-proto': 'https',
    'x-forwarded-host': 'evil.example',
    'x-forwarded-prefix': '/evil',
    forwarded: 'for=192.0.2.7;host=evil.example;proto=https',
  }
  for (const _ of [1, 2]) await send('GET', `${mirror.url}/v2/`, { headers })
  const begun = await send('POST', `${mirror.url}/v2/app/blobs/uploads/`, { headers })
  assert.deepEqual([begun.status, begun.code], [403, 'DENIED'])
  assert.match(begun.message ?? '', /server\.trustProxy/)
  assert.doesNotMatch((await pull(`${mirror.url}/`, { headers })).text, /evil/)
  await until(() => mirror.events('request').length === 3)
  const [line] = mirror.events('request')
  assert.deepEqual([line?.client, line?.forwardedFor], ['127.0.0.1', '192.0.2.7'])
  const [warning] = warnings(mirror)
  assert.equal(warnings(mirror).length, 1)
  assert.deepEqual(
    [warning?.level, warning?.client, warning?.header],
    ['warn', '127.0.0.1', 'x-forwarded-for'],
  )
  assert.match(String(warning?.msg), /server\.trustProxy/)
})

test('a forward proxy on the side of a client is none in front, and needs no line', async () => {
  await using mirror = await startMirror({ upstream })
  await send('GET', `${mirror.url}/v2/`, { headers: { via: '1.1 squid' } })
  await until(() => mirror.events('request').length === 1)
  assert.equal(warnings(mirror).length, 0)
})

test('who may push is asked of the client that is told', async () => {
  const config = { ...trusting, 'local.push': 'private-networks' }
  await using mirror = await startMirror({ upstream, config })
  const begin = async (url: string, headers: Record<string, string>) =>
    (await send('POST', `${url}/v2/app/blobs/uploads/`, { headers })).status
  assert.equal(await begin(mirror.url, { 'x-forwarded-for': '192.168.1.7' }), 202)
  assert.equal(await begin(mirror.url, { 'x-forwarded-for': '192.168.1.7, 203.0.113.7' }), 403)
  assert.equal(
    await begin(mirror.url, { forwarded: 'for=192.168.1.7', 'x-forwarded-for': '203.0.113.7' }),
    403,
  )
  const nobody = await send('POST', `${mirror.url}/v2/app/blobs/uploads/`)
  assert.equal(nobody.status, 403, 'a trusted proxy that names nobody')
  assert.match(nobody.message ?? '', /^127\.0\.0\.1 is in server\.trustProxy.*push through the web server/)
  await using strict = await startMirror({ upstream, config: { ...trusting, 'local.push': 'this-machine' } })
  for (const client of ['127.0.0.1', '::1', '192.168.1.7']) {
    assert.equal(await begin(strict.url, { 'x-forwarded-for': client }), 403, client)
  }
})

test('bounds by client count the one that is told, and the connections of a trusted proxy are its own', async () => {
  await using hub = await startDockerHub()
  hub.fault({ path: /manifests/ }, { stallBeforeHeaders: true })
  const config = { ...trusting, 'limits.perClient.connections': 2 }
  await using mirror = await startMirror({ upstream: hub.url, config })
  const sockets = await Promise.all(Array.from({ length: 5 }, () => connected(mirror.port)))
  const statusOf = async (socket: Socket | undefined, path: string, client: string) => {
    socket?.write(get(path, `X-Forwarded-For: ${client}\r\n`))
    const [answer] = await once(socket ?? assert.fail(), 'data')
    return /^HTTP\/1\.1 (\d+)/.exec(String(answer))?.[1]
  }
  for (const [index, tag] of ['v1', 'v2'].entries())
    sockets[index]?.write(get(`/v2/library/app/manifests/${tag}`, 'X-Forwarded-For: 2001:db8::7\r\n'))
  await until(() => mirror.app.underWay.requests === 2)
  assert.equal(await statusOf(sockets[2], '/v2/', '2001:db8::8'), '429', 'the same /64')
  assert.equal(await statusOf(sockets[3], '/v2/', '192.0.2.7'), '200')
  for (const socket of sockets.slice(0, 2)) socket.destroy()
  await until(() => mirror.app.underWay.requests === 0)
  assert.equal(await statusOf(sockets[4], '/v2/', '2001:db8::8'), '200')
  for (const socket of sockets) socket.destroy()
})

test('Location and Link are paths behind the prefix that is told, and lead to what they name', async () => {
  await using mirror = await startMirror({ upstream, config: { ...trusting, 'local.push': 'anyone' } })
  const headers = { 'x-forwarded-for': '192.0.2.7', 'x-forwarded-prefix': '/registry' }
  const at = (path: string) => mirror.url + path.replace(/^\/registry/, '')
  const [layer] = image.layers
  assert.ok(layer)
  const locationOf = async (method: string, path: string, more: Parameters<typeof send>[2] = {}) => {
    const {
      headers: got,
      status,
      text,
    } = await send(method, at(path), {
      ...more,
      headers: { ...headers, ...more.headers },
    })
    assert.ok(status < 300, text)
    return got.location ?? ''
  }
  const begun = await locationOf('POST', '/registry/v2/app/blobs/uploads/')
  assert.match(begun, /^\/registry\/v2\/app\/blobs\/uploads\/[\w-]+$/)
  const patched = await locationOf('PATCH', begun, { body: layer.bytes })
  assert.equal(await locationOf('GET', patched), begun)
  const stored = await locationOf('PUT', withDigest(patched, layer.digest))
  assert.equal(stored, `/registry/v2/app/blobs/${layer.digest}`)
  assert.equal((await pull(at(stored))).digest, layer.digest)
  for (const tag of ['v1', 'v2', 'v3']) await pushImage(`${mirror.url}/v2/app`, tag, image)
  const put = await locationOf('PUT', '/registry/v2/app/manifests/v1', {
    body: image.manifest.bytes,
    headers: { 'content-type': image.manifest.mediaType },
  })
  assert.equal(put, `/registry/v2/app/manifests/${image.manifest.digest}`)
  const page = await send('GET', `${mirror.url}/v2/app/tags/list?n=2`, { headers })
  assert.match(String(page.headers.link), /^<\/registry\/v2\/app\/tags\/list\?.*>; rel="next"$/)
})

test('the configured address is in all that leads somewhere, and its path may be left in front', async () => {
  const config = { 'server.publicUrl': 'https://m.example/registry', 'local.push': 'anyone' }
  await using mirror = await startMirror({ upstream, config })
  for (const path of ['/v2/', '/registry/v2/', '/registry/healthz', '/registry/', '/registry']) {
    assert.equal((await send('GET', mirror.url + path)).status, 200, path)
  }
  await pushImage(`${mirror.url}/registry/v2/app`, 'v1', image).catch(() => {
    // Its Location leads to an address that is not there.
  })
  for (const front of ['', '/registry']) {
    const { headers } = await send('POST', `${mirror.url}${front}/v2/app/blobs/uploads/`)
    assert.match(headers.location ?? '', /^https:\/\/m\.example\/registry\/v2\/app\/blobs\/uploads\/[\w-]+$/)
    const begun = mirror.url + new URL(headers.location ?? '').pathname
    assert.equal((await send('GET', begun)).status, 204)
  }
  const page = await pull(`${mirror.url}/registry/`)
  assert.match(page.text, /"registry-mirrors": \["https:\/\/m\.example\/registry"\]/)
  assert.doesNotMatch(page.text, /docker pull m\.example/, 'a reference has no path in front')
})

test('a proxy at a Unix socket is trusted as `unix`, and else it is this machine', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'larder-proxy-'))
  try {
    const socketPath = join(folder, 'larder.sock')
    const listen = { 'server.listen': [`unix:${socketPath}`, '127.0.0.1:0'], 'local.push': 'this-machine' }
    const begin = async (headers: Record<string, string>) =>
      (await send('POST', 'http://larder/v2/app/blobs/uploads/', { socketPath, headers })).status
    {
      await using _ = await startMirror({ upstream, config: listen })
      assert.equal(await begin({}), 202)
      assert.equal(await begin({ 'x-forwarded-for': '127.0.0.1' }), 403)
    }
    await using mirror = await startMirror({ upstream, config: { ...listen, 'server.trustProxy': ['unix'] } })
    assert.equal(await begin({}), 403)
    await send('GET', 'http://larder/v2/', { socketPath, headers: { 'x-forwarded-for': '192.0.2.7' } })
    await until(() => mirror.events('request').some(({ client }) => client === '192.0.2.7'))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})
