/**
 * Several requests of one upload at once, as raw bytes on connections of their own. Thought of: the same PATCH sent again,
 * after the first one and beside it; a reset in the middle and the same PATCH anew; the same PUT twice at once; a DELETE
 * while a PUT ends it. One wins, whoever comes second is told so, and the blob is right.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { pull } from '../support/client.ts'
import { pseudoRandomBytes } from '../support/images.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { beginUpload, send, withDigest } from '../support/push.ts'
import { until } from '../support/settle.ts'

const bytes = pseudoRandomBytes(600_000, 'races')
const digest = digestOf(bytes)
let mirror: TestMirror
before(async () => {
  mirror = await startMirror({ upstream: 'http://127.0.0.1:9' })
})
after(() => mirror[Symbol.asyncDispose]())

/** A request whose body is sent up to `sent`; `rest` sends what is left, `status` is that of the answer. */
async function sending(method: string, url: string, { range = true, sent = bytes.length } = {}) {
  const socket: Socket = connect(mirror.port, '127.0.0.1')
  socket.on('error', () => {})
  let text = ''
  socket.on('data', (piece) => {
    text += piece.toString('latin1')
  })
  await once(socket, 'connect')
  const { pathname, search } = new URL(url)
  const span = range ? `Content-Range: 0-${bytes.length - 1}\r\n` : ''
  socket.write(
    `${method} ${pathname}${search} HTTP/1.1\r\nHost: a\r\n${span}Content-Length: ${bytes.length}\r\n\r\n`,
  )
  socket.write(bytes.subarray(0, sent))
  const status = async (): Promise<number> => {
    await until(() => text.includes('\r\n\r\n'), { timeoutMs: 20_000 })
    socket.destroy()
    return Number(text.slice(9, 12))
  }
  return { socket, status, rest: () => socket.write(bytes.subarray(sent)) }
}

async function assertStored(repository: string) {
  const { status, digest: stored } = await pull(`${repository}/blobs/${digest}`)
  assert.deepEqual([status, stored], [200, digest])
}

const at = (name: string): string => `${mirror.url}/v2/local/${name}`
const rangeOf = async (url: string) => (await send('GET', url)).headers.range

test('a PATCH that is sent again after its end, and one beside it: 416, and nothing is there twice', async () => {
  const url = await beginUpload(at('again'))
  const first = await sending('PATCH', url, { sent: 300_000 })
  await until(async () => (await rangeOf(url)) === '0-299999')
  assert.equal(await (await sending('PATCH', url)).status(), 416)
  first.rest()
  assert.equal(await first.status(), 202)
  assert.equal(await (await sending('PATCH', url)).status(), 416)
  assert.equal(await rangeOf(url), `0-${bytes.length - 1}`)
  assert.equal((await send('PUT', withDigest(url, digest))).status, 201)
  await assertStored(at('again'))
})

test('a reset in the middle: the same PATCH from the first byte is 416, and the rest goes on', async () => {
  const url = await beginUpload(at('reset'))
  const first = await sending('PATCH', url, { sent: 300_000 })
  await until(async () => (await rangeOf(url)) === '0-299999')
  first.socket.resetAndDestroy()
  await until(() => mirror.app.underWay.requests === 0)
  assert.equal(await (await sending('PATCH', url)).status(), 416)
  const rest = { body: bytes.subarray(300_000), headers: { 'content-range': `300000-${bytes.length - 1}` } }
  assert.equal((await send('PATCH', url, rest)).status, 202)
  assert.equal((await send('PUT', withDigest(url, digest))).status, 201)
  await assertStored(at('reset'))
})

test('a whole blob in one POST that is cut off: its bytes go, since nobody knows its session', async () => {
  const cut = await sending('POST', withDigest(`${at('cut')}/blobs/uploads/`, digest), {
    range: false,
    sent: 300_000,
  })
  const files = () => readdir(join(mirror.directory, 'upload')).catch(() => [])
  await until(async () => (await files()).length === 1)
  cut.socket.resetAndDestroy()
  await until(async () => (await files()).length === 0)
})

test('the same PUT twice at once: one is 201, the other 416 or 404', async () => {
  for (let round = 0; round < 20; round += 1) {
    const repository = at(`twice-${round}`)
    const url = withDigest(await beginUpload(repository), digest)
    const both = await Promise.all([1, 2].map(() => sending('PUT', url, { range: round % 2 === 0 })))
    const statuses = await Promise.all(both.map(({ status }) => status()))
    const [won = 0, lost = 0] = statuses.toSorted()
    assert.equal(won, 201, String(statuses))
    assert.ok([404, 416].includes(lost), String(statuses))
    await assertStored(repository)
  }
})

test('a DELETE while a PUT brings its bytes is 416, and at its end one of them wins', async () => {
  const held = await beginUpload(at('held'))
  const put = await sending('PUT', withDigest(held, digest), { sent: 300_000 })
  await until(async () => (await rangeOf(held)) === '0-299999')
  assert.equal((await send('DELETE', held)).status, 416)
  put.rest()
  assert.equal(await put.status(), 201)
  await assertStored(at('held'))
  for (let round = 0; round < 20; round += 1) {
    const repository = at(`gone-${round}`)
    const url = await beginUpload(repository)
    const ending = await sending('PUT', withDigest(url, digest))
    const [cancelled, ended] = await Promise.all([send('DELETE', url), ending.status()])
    if (ended === 201) {
      assert.ok([404, 416].includes(cancelled.status), String(cancelled.status))
      await assertStored(repository)
    } else {
      assert.deepEqual([cancelled.status, ended], [204, 404])
      assert.equal((await pull(`${repository}/blobs/${digest}`)).status, 404)
    }
    assert.equal((await send('GET', url)).status, 404)
  }
})
