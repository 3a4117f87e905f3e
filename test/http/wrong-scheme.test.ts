import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { startMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'
import { selfSigned } from '../upstream/fixtures.ts'

// A client whose mirror address has the wrong scheme is told of in the log. Neighbours: TLS at a plain port, plain HTTP
// at a TLS port; again within the minute; the first line of each kind; IPv4 on a socket of both families; what else
// cannot be read as HTTP is answered as Node does, with no line, and no connection stays.

const upstream = 'http://127.0.0.1:9'
const spokenTls = /a client speaks TLS to a port that speaks plain HTTP: .* http:\/\/$/
const spokenPlain = /a client speaks plain HTTP to a port that speaks TLS: .* https:\/\/$/

/** All that a port answers to these bytes, until it closes the connection. */
async function answerTo(port: number, bytes: string): Promise<string> {
  return readAll(connect(port, '127.0.0.1').setEncoding('latin1'), bytes)
}

async function readAll(socket: Socket, bytes: string): Promise<string> {
  let answer = ''
  socket.on('data', (chunk) => {
    answer += chunk
  })
  socket.on('error', () => {})
  const closed = new Promise((resolve) => socket.on('close', resolve))
  socket.write(bytes)
  await closed
  return answer
}

async function speakTls(port: number): Promise<void> {
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
  await assert.rejects(once(socket, 'secureConnect'))
  socket.destroy()
}

async function certificateFiles(t: TestContext): Promise<Record<string, string>> {
  const folder = await mkdtemp(join(tmpdir(), 'larder-scheme-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const { key, cert } = await selfSigned('DNS:localhost')
  await writeFile(join(folder, 'tls.key'), key)
  await writeFile(join(folder, 'tls.crt'), cert)
  return { 'server.tls.certificate': join(folder, 'tls.crt'), 'server.tls.key': join(folder, 'tls.key') }
}

test('TLS at a port of plain HTTP has one line a minute, and HTTP goes on', async () => {
  await using mirror = await startMirror({ upstream, config: { 'server.listen': '[::]:0' } })
  await speakTls(mirror.port)
  await speakTls(mirror.port)
  const lines = () => mirror.events().filter(({ msg }) => spokenTls.test(String(msg)))
  await until(() => lines().length > 0)
  assert.deepEqual(
    lines().map(({ level, client }) => [level, client]),
    [['info', '127.0.0.1']],
  )
  assert.equal((await fetch(`http://127.0.0.1:${mirror.port}/v2/`)).status, 200)
})

test('plain HTTP at a TLS port has one line a minute, and the connection is closed', async (t) => {
  await using mirror = await startMirror({ upstream, config: await certificateFiles(t) })
  const request = 'GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n'
  await answerTo(mirror.port, request)
  await answerTo(mirror.port, request.replace('GET', 'HEAD'))
  const lines = () => mirror.events().filter(({ msg }) => spokenPlain.test(String(msg)))
  await until(() => lines().length > 0)
  assert.deepEqual(
    lines().map(({ level, client }) => [level, client]),
    [['warn', '127.0.0.1']],
  )
})

test('another client with the same mistake has a line of its own', async (t) => {
  await using mirror = await startMirror({ upstream, config: await certificateFiles(t) })
  for (const localAddress of ['127.0.0.2', '127.0.0.3', '127.0.0.2']) {
    const socket = connect({ port: mirror.port, host: '127.0.0.1', localAddress })
    await readAll(socket, 'GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n')
  }
  const lines = () => mirror.events().filter(({ msg }) => spokenPlain.test(String(msg)))
  await until(() => lines().length > 1)
  assert.deepEqual(
    lines().map(({ client }) => client),
    ['127.0.0.2', '127.0.0.3'],
  )
})

const unreadable: Readonly<Record<string, readonly [bytes: string, status: number]>> = {
  'no HTTP': ['\u0000\u0001\u0002\r\n\r\n', 400],
  'an unknown method': ['FOO / HTTP/1.1\r\n\r\n', 400],
  'a first byte as of TLS alone': ['\u0016GET / HTTP/1.1\r\n\r\n', 400],
  'headers without an end': [`GET / HTTP/1.1\r\nHost: x\r\nA: ${'a'.repeat(40_000)}\r\n`, 431],
}

for (const [name, [bytes, status]] of Object.entries(unreadable)) {
  test(`${name}: answered as ever, without a line`, async (t) => {
    await using mirror = await startMirror({ upstream })
    assert.match(
      await answerTo(mirror.port, bytes),
      new RegExp(`^HTTP/1\\.1 ${status} .*\r\nconnection: close\r\n\r\n\\{"errors":`, 's'),
    )
    assert.doesNotMatch(mirror.log(), /a client speaks/)
    await using secure = await startMirror({ upstream, config: await certificateFiles(t) })
    const socket = connectTls({ port: secure.port, host: '127.0.0.1', rejectUnauthorized: false })
    assert.match(await readAll(socket, bytes), new RegExp(`^HTTP/1\\.1 ${status} `))
    assert.doesNotMatch(secure.log(), /a client speaks/)
  })
}

test('a path that is not served: the line has the address as every other has it', async () => {
  await using mirror = await startMirror({ upstream, config: { 'server.listen': '[::]:0' } })
  await fetch(`http://127.0.0.1:${mirror.port}/mirror/v2/`)
  const [line] = mirror.events().filter(({ msg }) => String(msg).startsWith('a client asks below a path'))
  assert.equal(line?.client, '127.0.0.1')
})
