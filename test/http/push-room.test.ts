/**
 * Bodies that there is no room for, by the length that their client tells. Thought of: more than all uploads may have, and
 * more than the disk has, by each way, before one byte is sent; that the upload is gone then where the disk was asked; a
 * length that Content-Range tells; two that fit each alone.
 */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { test } from 'node:test'
import { StorageError } from '../../src/storage/error.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { content, digest, pieces, start } from '../registry/local-fixture.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { beginUpload, send, withDigest } from '../support/push.ts'
import { until } from '../support/settle.ts'

/** The answer to a request of which no byte of the body is sent. */
async function answerTo({ port }: TestMirror, method: string, url: string, headers: string): Promise<string> {
  const { pathname, search } = new URL(url)
  const socket = connect(port, '127.0.0.1')
  let text = ''
  socket.on('data', (piece) => {
    text += piece.toString('latin1')
  })
  socket.on('error', () => {})
  socket.write(`${method} ${pathname}${search} HTTP/1.1\r\nHost: a\r\n${headers}\r\n\r\n`)
  await until(() => text.includes('}'))
  socket.destroy()
  return text
}

const huge = 'Content-Length: 900000000000000'

for (const [why, config, told, after] of [
  ['local.uploadSpace', { 'local.uploadSpace': '1MB' }, /^HTTP\/1\.1 413 .*"SIZE_INVALID"/s, 204],
  ['the disk', { 'local.uploadSpace': '1000000GB' }, /^HTTP\/1\.1 507 .*"UNAVAILABLE"/s, 404],
] as const) {
  test(`a body that ${why} has no room for is refused before it comes`, async () => {
    await using mirror = await startMirror({ upstream: 'http://127.0.0.1:9', config })
    const repository = `${mirror.url}/v2/local/x`
    const single = `${repository}/blobs/uploads/?digest=${digest}`
    assert.match(await answerTo(mirror, 'POST', single, huge), told)
    const range = 'Content-Range: 0-899999999999999\r\nTransfer-Encoding: chunked'
    for (const [method, headers] of [
      ['PATCH', huge],
      ['PATCH', range],
      ['PUT', huge],
    ] as const) {
      const url = await beginUpload(repository)
      assert.match(
        await answerTo(mirror, method, method === 'PUT' ? withDigest(url, digest) : url, headers),
        told,
      )
      assert.equal((await send('GET', url)).status, after)
    }
    const url = await beginUpload(repository)
    assert.equal((await send('PUT', withDigest(url, digest), { body: content })).status, 201)
  })
}

test('two that fit each alone: the second is refused while the first one comes', async () => {
  const mebibyte = 1024 * 1024
  const store = new MemoryBlobStore()
  store.room = async () => ({ bytes: 5 * mebibyte, files: { free: 0, total: 0 } })
  const { repository } = start(store)
  const [first, second] = [await repository.begin(), await repository.begin()]
  const more = Promise.withResolvers<void>()
  const body = async function* () {
    yield content
    await more.promise
  }
  const coming = repository.append(first.id, body(), { length: 3 * mebibyte })
  await until(async () => (await store.writers.list()).length === 1)
  const refused = repository.append(second.id, pieces(content), { length: 3 * mebibyte })
  await assert.rejects(refused, (error) => error instanceof StorageError && error.code === 'FULL')
  more.resolve()
  await coming
  const third = await repository.begin()
  await repository.append(third.id, pieces(content), { length: 3 * mebibyte })
})
