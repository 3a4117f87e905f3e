/**
 * What pushes hold while they wait for their client. Thought of: manifests that come half, with their length and in chunks,
 * one byte a chunk, of one client and of two; room again when they leave, and when they stay while others wait; one whose
 * turn does not come; a length that is too much.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { buildImage } from '../support/images.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { send } from '../support/push.ts'
import { until } from '../support/settle.ts'
import { mebibyte } from './request-log-fixture.ts'

async function connectFrom(localAddress: string, port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', localAddress })
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

/** All that was answered so far. */
function answersOf(socket: Socket): () => string {
  const pieces: Buffer[] = []
  socket.on('data', (piece: Buffer) => pieces.push(piece))
  return () => Buffer.concat(pieces).toString('latin1')
}

const type = 'Content-Type: application/vnd.oci.image.manifest.v1+json\r\n'
const framings: Record<string, string> = {
  'with its length': `Content-Length: ${4 * mebibyte}\r\n\r\n`,
  'in chunks': 'Transfer-Encoding: chunked\r\n\r\n3FF000\r\n',
}

async function halfManifest(mirror: TestMirror, from: string, framing: string, n: number): Promise<Socket> {
  const socket = await connectFrom(from, mirror.port)
  socket.write(`PUT /v2/local/x/manifests/t${n} HTTP/1.1\r\nHost: a\r\n${type}${framing}`)
  socket.write(Buffer.alloc(4 * mebibyte - 8192, ' '))
  return socket
}

/** How much of a body the kernel and Node took. */
const taken = (sockets: readonly Socket[]): number =>
  sockets.reduce((sum, { bytesWritten, writableLength }) => sum + bytesWritten - writableLength, 0)

async function pushManifest(mirror: TestMirror, from: string): Promise<() => string> {
  const socket = await connectFrom(from, mirror.port)
  const answers = answersOf(socket)
  const manifest = Buffer.from('{"schemaVersion":2}')
  socket.write(
    `PUT /v2/local/good/manifests/v1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${type}Content-Length: ${manifest.length}\r\n\r\n`,
  )
  socket.end(manifest)
  return answers
}

for (const [how, framing] of Object.entries(framings)) {
  test(`manifests that come half (${how}) are read as far as there is room for them, and others pushed`, async () => {
    await using mirror = await startMirror({ upstream: 'http://127.0.0.1:9' })
    const sockets = await Promise.all(
      Array.from({ length: 30 }, (_, n) => halfManifest(mirror, '127.0.0.2', framing, n)),
    )
    await until(() => taken(sockets) > 15 * mebibyte)
    const answers = await pushManifest(mirror, '127.0.0.3')
    await until(() => answers() !== '')
    assert.match(answers(), /^HTTP\/1\.1 400 .*"MANIFEST_INVALID"/s, 'it was read')
    assert.ok(
      sockets.filter(({ writableLength }) => writableLength > 0).length >= 20,
      'the others wait unread',
    )
    for (const socket of sockets) socket.destroy()
    await until(() => mirror.app.underWay.requests === 0)
  })
}

test('a manifest whose turn does not come is told to come again, and one that takes long where others wait ends', async () => {
  await using mirror = await startMirror({ upstream: 'http://127.0.0.1:9', patienceMs: 300 })
  const sockets = await Promise.all(
    Array.from({ length: 9 }, (_, n) =>
      halfManifest(mirror, '127.0.0.2', framings['with its length'] ?? '', n),
    ),
  )
  const answers = sockets.map(answersOf)
  await until(() => answers.filter((text) => text() !== '').length > 0)
  const told = answers.map((text) => text()).filter((text) => text !== '')
  for (const text of told) {
    assert.match(text, /^HTTP\/1\.1 429 .*"TOOMANYREQUESTS"/s)
    assert.match(text, /\r\nretry-after: 10\r\n/i)
  }
  for (const socket of sockets) socket.destroy()
  await until(() => mirror.app.underWay.requests === 0)
})

test('a manifest whose length is too much is refused before it is read', async () => {
  await using mirror = await startMirror({ upstream: 'http://127.0.0.1:9' })
  const socket = await connectFrom('127.0.0.1', mirror.port)
  const answers = answersOf(socket)
  socket.write(
    `PUT /v2/local/x/manifests/t HTTP/1.1\r\nHost: a\r\n${type}Content-Length: ${4 * mebibyte + 1}\r\n\r\n `,
  )
  await until(() => answers() !== '', { timeoutMs: 10_000 })
  assert.match(answers(), /^HTTP\/1\.1 413 .*"MANIFEST_INVALID"/s)
  socket.destroy()
})

test('a manifest that comes byte by byte, each its own chunk, is whole', async () => {
  await using mirror = await startMirror({ upstream: 'http://127.0.0.1:9' })
  const image = buildImage()
  const manifest = Buffer.from(image.manifest.bytes)
  for (const { bytes, digest } of [image.config, ...image.layers]) {
    const pushed = await fetch(`${mirror.url}/v2/local/x/blobs/uploads/?digest=${digest}`, {
      method: 'POST',
      body: Buffer.from(bytes),
    })
    assert.equal(pushed.status, 201)
  }
  const socket = await connectFrom('127.0.0.1', mirror.port)
  const answers = answersOf(socket)
  socket.write(
    `PUT /v2/local/x/manifests/v1 HTTP/1.1\r\nHost: a\r\nContent-Type: ${image.manifest.mediaType}\r\nTransfer-Encoding: chunked\r\n\r\n`,
  )
  for (const byte of manifest)
    socket.write(Buffer.concat([Buffer.from('1\r\n'), Buffer.of(byte), Buffer.from('\r\n')]))
  socket.write('0\r\n\r\n')
  await until(() => answers() !== '')
  assert.match(answers(), /^HTTP\/1\.1 201 /)
  const { digest } = await pull(`${mirror.url}/v2/local/x/manifests/v1`)
  assert.equal(digest, `sha256:${createHash('sha256').update(manifest).digest('hex')}`)
  socket.destroy()
})

test('uploads that stall keep nobody from pushing, neither another client nor their own', async () => {
  await using mirror = await startMirror({ upstream: 'http://127.0.0.1:9' })
  const post = (name: string, digest: string, length: number) =>
    `POST /v2/local/${name}/blobs/uploads/?digest=${digest} HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n`
  const content = Buffer.from('hello')
  const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`
  const stalled = await Promise.all(
    Array.from({ length: 140 }, async () => {
      const socket = await connectFrom('127.0.0.2', mirror.port)
      socket.write(`${post('x', digest, content.length)}hel`)
      return socket
    }),
  )
  await until(() => mirror.app.underWay.requests === stalled.length)
  for (const client of ['127.0.0.3', '127.0.0.2']) {
    const socket = await connectFrom(client, mirror.port)
    const answers = answersOf(socket)
    socket.write(`${post('good', digest, content.length)}hello`)
    await until(() => answers() !== '')
    assert.match(answers(), /^HTTP\/1\.1 201 /)
    socket.destroy()
  }
  // They go on where they were.
  const answers = stalled.map(answersOf)
  for (const socket of stalled) socket.write('lo')
  await until(() => answers.every((text) => text() !== ''), { timeoutMs: 20_000 })
  for (const text of answers) assert.match(text(), /^HTTP\/1\.1 201 /)
  for (const socket of stalled) socket.destroy()
})

test('what one client uploads and leaves is bounded by client, and another one pushes', async () => {
  const config = { 'local.uploadSpace': '100KB' }
  await using mirror = await startMirror({ upstream: 'http://127.0.0.1:9', config })
  const leave = async (localAddress: string, bytes: number) => {
    const begun = await send('POST', `${mirror.url}/v2/local/x/blobs/uploads/`, { localAddress })
    const url = new URL(begun.headers.location ?? '', mirror.url)
    return send('PATCH', url, { localAddress, body: Buffer.alloc(bytes) })
  }
  for (let count = 0; count < 2; count += 1) assert.equal((await leave('127.0.0.2', 30_000)).status, 202)
  const refused = await leave('127.0.0.2', 25_000)
  assert.deepEqual([refused.status, refused.code], [429, 'TOOMANYREQUESTS'])
  assert.equal(refused.headers['retry-after'], '10')
  assert.equal((await leave('127.0.0.3', 25_000)).status, 202)
})
