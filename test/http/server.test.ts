import assert from 'node:assert/strict'
import { chmod, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { pseudoRandomBytes } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { exchange } from '../support/raw-http.ts'
import { until } from '../support/settle.ts'

test('whoever watches by HEAD is answered as by GET', async () => {
  await using mirror = await startMirror({ upstream: 'http://127.0.0.1:9' })
  for (const path of ['/healthz', '/readyz', '/metrics', '/', '/v2/']) {
    assert.equal((await pull(mirror.url + path, { method: 'HEAD' })).status, 200, path)
  }
})

test('/healthz, /readyz and /metrics answer', async () => {
  await using mirror = await startMirror({ upstream: 'http://127.0.0.1:9' })
  assert.deepEqual(JSON.parse((await pull(`${mirror.url}/healthz`)).text), { status: 'ok' })
  // A catalog that is slow for a moment is told as well.
  await until(async () => (await pull(`${mirror.url}/readyz`)).text === '{"status":"ready"}')
  const { headers, text } = await pull(`${mirror.url}/metrics`)
  assert.match(String(headers['content-type']), /^text\/plain; version=0\.0\.4/)
  assert.match(text, /^larder_fills_running 0$/m)
  assert.match(text, /^process_resident_memory_bytes \d+$/m)
})

const malformed: Record<string, string> = {
  'two Host headers': 'GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n',
  'an absolute target': 'GET http://evil/v2/ HTTP/1.1\r\nHost: a\r\n\r\n',
  'no Host header': 'GET /v2/ HTTP/1.1\r\n\r\n',
  'Content-Length and Transfer-Encoding':
    'POST /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'two different Content-Lengths':
    'POST /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello',
  'a signed Content-Length': 'POST /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello',
  'an unknown Transfer-Encoding':
    'POST /v2/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  'a space before a colon': 'GET /v2/ HTTP/1.1\r\nHost : a\r\n\r\n',
  'a folded header': 'GET /v2/ HTTP/1.1\r\nHost: a\r\n b: c\r\n\r\n',
  'a bare line feed': 'GET /v2/ HTTP/1.1\nHost: a\n\n',
  'headers of 17 KiB': `GET /v2/ HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(17 * 1024)}\r\n\r\n`,
}
for (const [name, request] of Object.entries(malformed)) {
  test(`${name}: refused, and what follows on the connection is not answered`, async () => {
    await using hub = await startDockerHub()
    await using mirror = await startMirror({ upstream: hub.url })
    const smuggled =
      'GET /v2/library/smuggled/manifests/latest HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
    const answer = await exchange(mirror.port, request + smuggled)
    assert.match(answer, /^HTTP\/1\.1 4\d\d /)
    assert.equal(answer.split('HTTP/1.1 4').length, 2, answer)
    assert.match(answer, /\r\n\r\n\{"errors":\[\{"code":"UNSUPPORTED"/)
    assert.equal(hub.count(), 0)
  })
}

test('an expectation that nobody knows is none that has to be met', async () => {
  await using mirror = await startMirror({ upstream: 'http://127.0.0.1:9' })
  const asked = 'GET /v2/ HTTP/1.1\r\nHost: a\r\nExpect: rain\r\nConnection: close\r\n\r\n'
  assert.match(await exchange(mirror.port, asked), /^HTTP\/1\.1 200 /)
})

test('a header named __proto__ is harmless', async () => {
  await using mirror = await startMirror({ upstream: 'http://127.0.0.1:9' })
  for (const path of ['/v2/', '/healthz', '/metrics', '/nothing']) {
    const answer = await exchange(
      mirror.port,
      `GET ${path} HTTP/1.1\r\nHost: a\r\n__proto__: 1\r\nConnection: close\r\n\r\n`,
    )
    assert.match(answer, /^HTTP\/1\.1 (200|404) /)
  }
})

test('paths outside /v2/ get an error in the shape of the specification', async () => {
  await using mirror = await startMirror({ upstream: 'http://127.0.0.1:9' })
  for (const path of ['/v1/users/', '/%zz', '/v2x']) {
    const { status, text } = await pull(`${mirror.url}${path}`)
    assert.ok(status === 404 || status === 400, path)
    assert.ok(JSON.parse(text).errors[0].message.length > 0)
  }
})

test('log lines hold no line break of a client', async () => {
  await using mirror = await startMirror({ upstream: 'http://127.0.0.1:9' })
  const agent = Buffer.from('x\u2028\u0085y').toString('latin1')
  await exchange(
    mirror.port,
    `GET /v2/ HTTP/1.1\r\nHost: a\r\nUser-Agent: ${agent}\r\nConnection: close\r\n\r\n`,
  )
  const lines = mirror.log().trim().split('\n')
  assert.equal(lines.length, 1)
  assert.equal(JSON.parse(lines[0] ?? '').url, '/v2/')
})

test('a stop lets a running transfer finish, and takes no new one', async () => {
  const size = 24 * 1024 * 1024
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(size, 'graceful'))
  const mirror = await startMirror({ upstream: hub.url })
  using hold = hub.hold({ listener: 'cdn', digest: blob.digest }, size / 2)
  const pulling = pull(`${mirror.url}/v2/library/app/blobs/${blob.digest}`)
  await hold.reached
  const stopping = mirror[Symbol.asyncDispose]()
  await assert.rejects(pull(`${mirror.url}/v2/`), /ECONNREFUSED/)
  hold.release()
  const { digest, isComplete } = await pulling
  assert.deepEqual([digest, isComplete], [blob.digest, true])
  await stopping
})

test('a stop cuts what does not finish within the grace', async () => {
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(1024 * 1024, 'grace'))
  const mirror = await startMirror({ upstream: hub.url, config: { 'server.shutdownGrace': '0s' } })
  using _hold = hub.hold({ listener: 'cdn', digest: blob.digest }, 500_000)
  const begun = Promise.withResolvers<void>()
  const pulling = pull(`${mirror.url}/v2/library/app/blobs/${blob.digest}`, {
    onBytes: () => begun.resolve(),
  })
  await begun.promise
  await mirror[Symbol.asyncDispose]()
  assert.equal((await pulling).isComplete, false)
})

test('it listens on a Unix socket and on several ports at once', async () => {
  const path = `/tmp/larder-test-${process.pid}.sock`
  await using mirror = await startMirror({
    upstream: 'http://127.0.0.1:9',
    config: { 'server.listen': ['127.0.0.1:0', `unix:${path}`, '127.0.0.1:0'] },
  })
  assert.equal((await pull(`${mirror.url}/v2/`)).status, 200)
  const socket = connect(path)
  socket.write('GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  let answer = ''
  for await (const chunk of socket) answer += chunk
  assert.match(answer, /^HTTP\/1\.1 200 /)
})

test('a port that is taken: nothing is left listening or locked', async () => {
  await using mirror = await startMirror({ upstream: 'http://127.0.0.1:9' })
  const config = { 'server.listen': ['127.0.0.1:0', `127.0.0.1:${mirror.port}`] }
  await assert.rejects(startMirror({ upstream: 'http://127.0.0.1:9', config }), { code: 'EADDRINUSE' })
})

test('a data folder that cannot be written to is told at the start', async (t) => {
  const { mkdtemp } = await import('node:fs/promises')
  const { tmpdir } = await import('node:os')
  const directory = await mkdtemp(join(tmpdir(), 'larder-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  await writeFile(join(directory, 'blocker'), '')
  await chmod(directory, 0o755)
  await assert.rejects(
    startMirror({ upstream: 'http://127.0.0.1:9', directory: join(directory, 'blocker') }),
    {
      code: /EEXIST|ENOTDIR/,
    },
  )
})
