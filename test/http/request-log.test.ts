/**
 * Every request below /v2/ is one line and one count, however it ends. Thought of, and tested here: a client that
 * leaves while the upstream is asked, while it is found out whether it may, in the middle of a body, behind
 * another answer on its connection (with a socket that is closed or reset), by closing in an orderly way, at a HEAD,
 * and at a manifest; parallel ranges that are closed early; a body that we break off because the upstream fails, and
 * at the end of the grace of a stop; a request that is refused at the door, or whose URL cannot be read; methods that
 * are not served; conditional requests; a list of tags; a Unix socket; IPv4 on a socket of both families.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage, pseudoRandomBytes } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'
import { connected, get, isLoud, mebibyte, requests, start } from './request-log-fixture.ts'

const farewells: Record<string, (socket: Socket) => void> = {
  'resets its connection': (socket) => void socket.resetAndDestroy(),
  'closes its connection': (socket) => void socket.destroy(),
  'ends its side of the connection': (socket) => void socket.end(),
}
for (const [how, leave] of Object.entries(farewells)) {
  test(`a client ${how} while the upstream is asked: one line, no warning, nothing sent`, async () => {
    await using s = await start()
    s.hub.addImage('library/app', 'latest', buildImage())
    using hold = s.hub.hold({ listener: 'registry', path: /manifests/ })
    const socket = await connected(s.mirror.port)
    socket.write(get('/v2/library/app/manifests/latest'))
    await hold.reached
    leave(socket)
    const [line] = await requests(s.mirror, 1)
    assert.deepEqual(
      [line?.level, line?.status, line?.ended, line?.bytes, line?.agent, line?.client],
      ['info', 499, 'left', 0, 'tester/1.0', '127.0.0.1'],
    )
    assert.equal(await s.mirror.metric('larder_requests_total'), 1)
    hold.release()
  })

  test(`a client ${how} in the middle of a body: one line with the bytes that it was sent`, async () => {
    await using s = await start()
    const blob = s.hub.addBlob('library/app', pseudoRandomBytes(32 * mebibyte, 'middle'))
    const url = `/v2/library/app/blobs/${blob.digest}`
    await pull(`${s.mirror.url}${url}`)
    await until(async () => (await s.mirror.metric('larder_fills_running')) === 0)
    const socket = await connected(s.mirror.port)
    socket.write(get(url))
    let received = 0
    while (received < mebibyte) {
      await once(socket, 'readable')
      for (let piece = socket.read(); piece !== null; piece = socket.read()) received += piece.length
    }
    leave(socket)
    const [, line] = await requests(s.mirror, 2)
    const bytes = Number(line?.bytes)
    assert.deepEqual([line?.level, line?.status, line?.ended, line?.cache], ['info', 200, 'left', 'hit'])
    assert.ok(bytes >= received - 1000 && bytes < blob.size, `${bytes} of ${blob.size}, ${received} received`)
    assert.equal(await s.mirror.metric('larder_served_bytes_total'), blob.size + bytes)
    assert.deepEqual(s.mirror.events().filter(isLoud), [])
    socket.destroy()
  })
}

test('a client that leaves while it is found out whether it may: one line, and nothing is fetched for it', async () => {
  await using s = await start()
  const content = pseudoRandomBytes(mebibyte, 'gone')
  const blob = s.hub.addBlob('library/app', content)
  s.hub.addBlob('library/other', content)
  // Its bytes are here, and whether the other repository has them is for its upstream to say.
  assert.equal((await pull(`${s.mirror.url}/v2/library/app/blobs/${blob.digest}`)).digest, blob.digest)
  const fetched = () => s.hub.count({ digest: blob.digest, method: 'GET', listener: 'cdn' })
  // In more than one piece where a slow machine looks like a long way.
  const before = fetched()
  using hold = s.hub.hold({ listener: 'registry', method: 'HEAD' })
  const socket = await connected(s.mirror.port)
  socket.write(get(`/v2/library/other/blobs/${blob.digest}`))
  await hold.reached
  socket.resetAndDestroy()
  const [, line] = await requests(s.mirror, 2)
  assert.deepEqual([line?.ended, line?.status, line?.bytes], ['left', 499, 0])
  hold.release()
  assert.equal((await pull(`${s.mirror.url}/v2/library/other/blobs/${blob.digest}`)).digest, blob.digest)
  assert.equal(fetched(), before)
  assert.deepEqual(s.mirror.events().filter(isLoud), [])
})

test('requests that wait behind another one when the connection closes: each has its line', async () => {
  await using s = await start()
  s.hub.addImage('library/app', 'latest', buildImage())
  await pull(`${s.mirror.url}/v2/library/app/manifests/latest`)
  const blob = s.hub.addBlob('library/app', pseudoRandomBytes(mebibyte, 'first'))
  using hold = s.hub.hold({ listener: 'cdn', digest: blob.digest }, 1000)
  const socket = await connected(s.mirror.port)
  const behind = get('/v2/library/app/manifests/latest').repeat(20)
  socket.write(get(`/v2/library/app/blobs/${blob.digest}`) + behind)
  await hold.reached
  socket.resetAndDestroy()
  const [, ...lines] = await requests(s.mirror, 22)
  assert.equal(lines.filter(({ kind }) => kind === 'manifest').length, 20)
  for (const { level, ended, status, bytes, kind } of lines) {
    assert.deepEqual([level, ended], ['info', 'left'])
    if (kind === 'manifest') assert.deepEqual([status, bytes], [499, 0], 'nothing of it was sent')
  }
  assert.equal(await s.mirror.metric('larder_requests_total'), 22)
  hold.release()
})

test('requests on one connection that are all answered: each is logged once, as complete', async () => {
  await using s = await start()
  const manifest = '/v2/library/app/manifests/latest'
  s.hub.addImage('library/app', 'latest', buildImage())
  const socket = await connected(s.mirror.port)
  socket.write(get(manifest).repeat(3) + get(manifest, 'Connection: close\r\n'))
  await once(socket.resume(), 'close')
  const lines = await requests(s.mirror, 4)
  assert.deepEqual(new Set(lines.map(({ ended }) => ended)), new Set(['complete']))
  assert.equal(await s.mirror.metric('larder_requests_total'), 4)
})

test('a parallel pull in open ranges that are closed early: every request is in the log, none is a warning', async () => {
  await using s = await start()
  const size = 32 * mebibyte
  const piece = 2 * mebibyte
  const image = buildImage({ layers: [pseudoRandomBytes(size, 'parallel')] })
  s.hub.addImage('library/app', 'latest', image)
  const [blob] = image.layers
  assert.ok(blob)
  await pull(`${s.mirror.url}/v2/library/app/manifests/latest`)
  const url = `${s.mirror.url}/v2/library/app/blobs/${blob.digest}`
  // As containerd 2.1 does: one request for everything, then one from each offset, each left when it has its piece.
  const starts = Array.from({ length: size / piece }, (_, index) => index * piece)
  await Promise.all(
    starts.map((offset) => pull(url, { headers: { range: `bytes=${offset}-` }, leaveAfter: piece })),
  )
  const [, ...lines] = await requests(s.mirror, 1 + starts.length)
  for (const line of lines) {
    assert.equal(line.status, 206)
    assert.ok(Number(line.bytes) >= piece, `${line.bytes}`)
  }
  assert.equal(await s.mirror.metric('larder_requests_total'), 1 + starts.length)
  await until(async () => (await s.mirror.metric('larder_fills_running')) === 0)
  assert.deepEqual(s.mirror.events().filter(isLoud), [])
})

test('a body that the upstream lets down: one warning with the client, the blob and the reason', async () => {
  await using hub = await startDockerHub()
  await using mirror = await startMirror({ upstream: hub.url, config: { 'limits.retries': 0 } })
  const blob = hub.addBlob('library/app', pseudoRandomBytes(2 * mebibyte, 'broken'))
  using hold = hub.hold({ listener: 'cdn', digest: blob.digest }, mebibyte)
  const begun = Promise.withResolvers<void>()
  const pulling = pull(`${mirror.url}/v2/library/app/blobs/${blob.digest}`, {
    onBytes: () => begun.resolve(),
  })
  await begun.promise
  const stopped = hub.stop()
  hold.release()
  const { isComplete, received } = await pulling
  await stopped
  assert.equal(isComplete, false)
  const [line] = await requests(mirror, 1)
  assert.deepEqual(
    [line?.level, line?.ended, line?.client, line?.reference],
    ['warn', 'broken', '127.0.0.1', blob.digest],
  )
  assert.match(String(line?.error), /^docker\.io: /)
  assert.ok(Number(line?.bytes) >= received && received > 0, `${line?.bytes} logged, ${received} received`)
  assert.equal(await mirror.metric('larder_served_bytes_total'), line?.bytes)
})

test('a transfer that the end of a stop cuts is said to be broken off by us', async () => {
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(mebibyte, 'stop'))
  const mirror = await startMirror({ upstream: hub.url, config: { 'server.shutdownGrace': '0s' } })
  using _hold = hub.hold({ listener: 'cdn', digest: blob.digest }, 500_000)
  const begun = Promise.withResolvers<void>()
  const pulling = pull(`${mirror.url}/v2/library/app/blobs/${blob.digest}`, {
    onBytes: () => begun.resolve(),
  })
  await begun.promise
  await mirror[Symbol.asyncDispose]()
  await pulling
  const [line] = mirror.events('request')
  assert.deepEqual([line?.level, line?.ended], ['warn', 'broken'])
  assert.match(String(line?.error), /the mirror stopped/)
})
