/**
 * Clients that ask before they send a body (RFC 9110 10.1.1). Thought of: what is refused by its headers alone, for every
 * reason; what is taken, and another request behind it; a body that nobody wants, of an answer that is none of a refusal;
 * no body; clients that do not wait; a form; questions with a body; HTTP/1.0.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { after, before, type TestContext, test } from 'node:test'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { send } from '../support/push.ts'
import { until } from '../support/settle.ts'
import { basic, usersFile } from '../support/users.ts'
import { connected } from './request-log-fixture.ts'

const parts = new AsyncDisposableStack()
const expecting = 'Expect: 100-continue\r\n'
const gibibyte = 1024 ** 3
const toldToGoOn = 'HTTP/1.1 100 Continue\r\n\r\n'
const blob = Buffer.from('the whole blob')
const digest = `sha256:${createHash('sha256').update(blob).digest('hex')}`
const absent = `sha256:${'0'.repeat(64)}`
const uploads = '/v2/local/app/blobs/uploads/'
let open: TestMirror
let guarded: TestMirror
let closed: TestMirror

before(async (t) => {
  const upstream = 'http://127.0.0.1:9'
  const htpasswd = await usersFile(t as TestContext, { ann: 'secret' })
  open = parts.use(await startMirror({ upstream }))
  guarded = parts.use(await startMirror({ upstream, config: { 'auth.htpasswd': htpasswd } }))
  closed = parts.use(await startMirror({ upstream, config: { 'local.push': 'off' } }))
})
after(() => parts.disposeAsync())

/** A connection, and all that came on it so far. */
async function connection({ port }: TestMirror): Promise<{ socket: Socket; told: () => string }> {
  const socket = await connected(port)
  let text = ''
  socket.on('data', (piece: Buffer) => {
    text += piece.toString('latin1')
  })
  socket.on('error', () => {})
  return { socket, told: () => text }
}

const head = (line: string, length: number, headers = '') =>
  `${line} HTTP/1.1\r\nHost: a\r\n${expecting}Content-Length: ${length}\r\n${headers}\r\n`

const refused: readonly (readonly [string, () => TestMirror, string, number, string?])[] = [
  ['nobody has logged in', () => guarded, `POST ${uploads}?digest=${digest}`, 401],
  ['the manifest is pushed by nobody', () => guarded, 'PUT /v2/local/app/manifests/v1', 401],
  [
    'the password is wrong',
    () => guarded,
    `POST ${uploads}?digest=${digest}`,
    401,
    `Authorization: ${basic('ann', 'x').authorization}\r\n`,
  ],
  ['nobody may push', () => closed, `POST ${uploads}?digest=${digest}`, 403],
  ['a page pushes', () => open, `POST ${uploads}?digest=${digest}`, 403, 'Origin: http://evil.test\r\n'],
  ["the name is an upstream's", () => open, 'PUT /v2/docker.io/library/a/manifests/v1', 403],
  ['there is no such upload', () => open, `PATCH ${uploads}nothing`, 404],
  ['the digest is none', () => open, `POST ${uploads}?digest=sha256:1`, 400],
  ['the range is none', () => open, `PATCH ${uploads}nothing`, 400, 'Content-Range: x\r\n'],
  ['the body is packed', () => open, `POST ${uploads}?digest=${digest}`, 415, 'Content-Encoding: gzip\r\n'],
  ['the manifest is too long', () => open, 'PUT /v2/local/app/manifests/v1', 413],
  ['the method is none of a registry', () => open, 'PROPFIND /v2/local/app/manifests/v1', 405],
  ['there is nothing like it', () => open, 'PUT /v2/nothing', 404],
  ['it is no address of a registry', () => open, 'POST /nothing', 404],
]

for (const [why, mirror, line, status, headers] of refused) {
  test(`${why}: the answer comes in place of "continue", and ends the connection`, {
    timeout: 10_000,
  }, async (t) => {
    const { socket, told } = await connection(mirror())
    const ended = once(socket, 'close')
    // No time passes by which a body could be waited for.
    t.mock.timers.enable({ apis: ['setTimeout'] })
    socket.write(head(line, gibibyte, headers))
    await ended
    assert.match(told(), new RegExp(`^HTTP/1.1 ${status} `))
    assert.match(told(), /\r\nconnection: close\r\n/i)
    assert.match(told(), /\}$/, 'whole')
  })
}

test('what is taken is sent for, and another request comes on the same connection', async () => {
  const { socket, told } = await connection(open)
  for (const sent of [1, 2]) {
    socket.write(head(`POST ${uploads}?digest=${digest}`, blob.length))
    await until(() => told().split(toldToGoOn).length === sent + 1)
    socket.write(blob)
    await until(() => told().split('HTTP/1.1 201 ').length === sent + 1)
  }
  assert.doesNotMatch(told(), /connection: close/i)
  socket.destroy()
})

test('a manifest is sent for, and refused for what is in it', async () => {
  const { socket, told } = await connection(open)
  const manifest = JSON.stringify({
    schemaVersion: 2,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: absent, size: 1 },
    layers: [],
  })
  const type = 'Content-Type: application/vnd.oci.image.manifest.v1+json\r\n'
  socket.write(head('PUT /v2/local/app/manifests/v1', manifest.length, type))
  await until(() => told() === toldToGoOn)
  socket.write(manifest)
  await until(() => told().includes('MANIFEST_BLOB_UNKNOWN'))
  assert.doesNotMatch(told(), /connection: close/i, 'the body was read')
  socket.destroy()
})

test('a body that nobody reads is not sent for, and is taken for no request behind the answer', async () => {
  for (const [line, status] of [
    [`POST ${uploads}`, 202],
    ['GET /v2/', 200],
    ['DELETE /v2/local/app/manifests/none', 404],
  ] as const) {
    const { socket, told } = await connection(open)
    socket.write(head(line, gibibyte))
    await until(() => socket.closed)
    assert.match(told(), new RegExp(`^HTTP/1.1 ${status} `))
    assert.match(told(), /\r\nconnection: close\r\n/i)
  }
})

test('without a body there is nothing to wait for', async () => {
  const { socket, told } = await connection(open)
  socket.write(head(`POST ${uploads}`, 0))
  await until(() => told().endsWith('\r\n\r\n'))
  assert.match(told(), /^HTTP\/1.1 202 /)
  socket.destroy()
})

test('who does not wait is answered the same', async () => {
  const taken = await connection(open)
  taken.socket.write(
    Buffer.concat([Buffer.from(head(`POST ${uploads}?digest=${digest}`, blob.length)), blob]),
  )
  await until(() => taken.told().includes('HTTP/1.1 201 '))
  taken.socket.destroy()
  const { socket, told } = await connection(guarded)
  socket.write(Buffer.concat([Buffer.from(head(`POST ${uploads}?digest=${digest}`, blob.length)), blob]))
  await until(() => socket.closed)
  assert.match(told(), /^HTTP\/1.1 401 /)
})

test('a form for a token is sent for', async () => {
  const { socket, told } = await connection(guarded)
  const form = 'grant_type=password&username=ann&password=secret&service=larder'
  const type = 'Content-Type: application/x-www-form-urlencoded\r\n'
  socket.write(head('POST /token', form.length, type))
  await until(() => told() === toldToGoOn)
  socket.write(form)
  await until(() => told().includes('HTTP/1.1 200 '))
  socket.destroy()
})

test('HTTP/1.0 knows nothing of it', async () => {
  const { socket, told } = await connection(open)
  const line = `POST ${uploads}?digest=${digest} HTTP/1.0`
  socket.write(`${line}\r\n${expecting}Content-Length: ${blob.length}\r\n\r\n`)
  socket.write(blob)
  await until(() => socket.closed)
  assert.doesNotMatch(told(), /100 Continue/)
})

test('a client of Node that waits pushes and is refused', async () => {
  const headers = { expect: '100-continue', 'content-length': blob.length }
  const pushed = await send('POST', `${open.url}${uploads}?digest=${digest}`, { headers, body: blob })
  assert.equal(pushed.status, 201)
  const other = await send('POST', `${guarded.url}${uploads}?digest=${digest}`, { headers, body: blob })
  assert.equal(other.status, 401)
})
