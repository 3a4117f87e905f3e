/** What the line of a request says; how requests end is tested in request-log.test.ts. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage, pseudoRandomBytes } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { exchange } from '../support/raw-http.ts'
import { connected, get, isLoud, requests, start } from './request-log-fixture.ts'

test('what is refused is logged once as well, with the reason, and never as a warning', async () => {
  await using s = await start()
  s.hub.addImage('library/app', 'latest', buildImage())
  const refused = {
    [get('/v2/', 'Host: b\r\nConnection: close\r\n')]: 400,
    [get('/v2/%zz', 'Connection: close\r\n')]: 400,
    [get('/v2/UPPER/manifests/latest', 'Connection: close\r\n')]: 404,
    [get('/v2/library/nothing/manifests/latest', 'Connection: close\r\n')]: 404,
    [get('/mirror.lan/v2/', 'Connection: close\r\n')]: 404,
    'POST /v2/library/app/blobs/uploads/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n': 403,
    'DELETE /v2/library/app/manifests/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n': 404,
  }
  const parsed = Object.entries(refused)
  for (const [text, status] of parsed) {
    assert.match(await exchange(s.mirror.port, text), new RegExp(`^HTTP/1.1 ${status} `))
  }
  const lines = await requests(s.mirror, parsed.length)
  assert.deepEqual(
    lines.map(({ status, ended }) => [status, ended]),
    parsed.map(([, status]) => [status, 'complete']),
  )
  assert.deepEqual(lines.filter(isLoud), [])
  assert.deepEqual(
    lines.slice(1).filter(({ error }) => typeof error !== 'string'),
    [],
  )
})

test('what is asked for elsewhere is no request of a registry, whatever its query says', async () => {
  await using s = await start()
  for (const path of ['/healthz?/v2/', '/metrics', '/', '/v2x']) await pull(`${s.mirror.url}${path}`)
  await pull(`${s.mirror.url}/v2/`)
  const [line] = await requests(s.mirror, 1)
  assert.equal(line?.url, '/v2/')
})

test('bytes are those of the body: none for HEAD and 304, those of the range for 206', async () => {
  await using s = await start()
  const blob = s.hub.addBlob('library/app', pseudoRandomBytes(5000, 'bytes'))
  const url = `${s.mirror.url}/v2/library/app/blobs/${blob.digest}`
  await pull(url)
  await pull(url, { method: 'HEAD' })
  await pull(url, { headers: { 'if-none-match': `"${blob.digest}"` } })
  await pull(url, { headers: { range: 'bytes=1000-1999' } })
  await pull(`${s.mirror.url}/v2/library/app/tags/list`)
  const lines = await requests(s.mirror, 5)
  assert.deepEqual(
    lines.map(({ status, bytes }) => [status, bytes]),
    [
      [200, 5000],
      [200, 0],
      [304, 0],
      [206, 1000],
      [200, JSON.stringify({ name: 'library/app', tags: [] }).length],
    ],
  )
})

test('an upstream that is away: the first failed pull in a while is a warning, the next ones are not', async () => {
  await using hub = await startDockerHub()
  await using mirror = await startMirror({ upstream: hub.url })
  await hub.stop()
  for (const tag of ['1', '2', '3', '4']) await pull(`${mirror.url}/v2/library/app/manifests/${tag}`)
  const lines = await requests(mirror, 4)
  for (const { error, status } of lines) {
    assert.equal(status, 503)
    assert.match(String(error), /^UNAVAILABLE: docker\.io: /)
  }
  const warned = lines.filter(isLoud)
  // One for each way to fail: it cannot be reached, and it is not asked any more.
  assert.ok(warned.length >= 1 && warned.length <= 2, JSON.stringify(warned))
  assert.ok(warned.every(({ level }) => level === 'warn'))
})

test('the lines of a client of a socket of both families, and of a Unix socket', async () => {
  const path = `/tmp/larder-request-log-${process.pid}.sock`
  await using mirror = await startMirror({
    upstream: 'http://127.0.0.1:9',
    config: { 'server.listen': ['[::]:0', `unix:${path}`] },
  })
  await pull(`${mirror.url}/v2/`)
  const socket = connect(path)
  socket.write(get('/v2/', 'Connection: close\r\n'))
  await once(socket.resume(), 'close')
  const lines = await requests(mirror, 2)
  assert.deepEqual(
    lines.map(({ client }) => client),
    ['127.0.0.1', 'unix socket'],
  )
})

test('for whom a proxy asks is in the line: clean, its end where it is long, and never the client', async () => {
  await using stage = await start()
  const { mirror } = stage
  const said = [
    'X-Forwarded-For: 10.0.0.7\r\nX-Real-IP: 10.0.0.8\r\n',
    'X-Forwarded-For: 10.0.0.6\r\nX-Forwarded-For: 10.0.0.7\r\n',
    `X-Forwarded-For: ${'1'.repeat(300)}, 10.0.0.7\r\n`,
    'X-Forwarded-For: \u00e9\t10.0.0.7\r\n',
    'Forwarded: for=10.0.0.7\r\n',
    'X-Real-IP: 10.0.0.7\r\n',
    '',
  ]
  for (const [index, headers] of said.entries()) {
    const socket = await connected(mirror.port)
    socket.write(get('/v2/', headers), 'latin1')
    await requests(mirror, index + 1)
    socket.destroy()
  }
  const lines = await requests(mirror, said.length)
  assert.deepEqual(
    lines.map(({ client, forwardedFor }) => [client, forwardedFor]),
    [
      '10.0.0.7',
      '10.0.0.6, 10.0.0.7',
      `${'1'.repeat(190)}, 10.0.0.7`,
      '??10.0.0.7',
      'for=10.0.0.7',
      '10.0.0.7',
      undefined,
    ].map((told) => ['127.0.0.1', told]),
  )
})
