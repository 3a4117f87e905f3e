/**
 * A client waits for headers less long than for bytes. Where a manifest told the size of a blob they leave before any
 * upstream has answered; bytes never do before this repository's own has said yes, whoever brings them.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { blobOf, pseudoRandomBytes } from '../support/images.ts'
import { app, Rights, say } from './rights-fixture.ts'

const content = blobOf(pseudoRandomBytes(200_000, 'awaited'))
const { digest, size } = content

async function start(t: Parameters<typeof Rights.start>[0]): Promise<Rights> {
  const rights = await Rights.start(t, { patienceMs: 50 })
  await rights.name(app, digest, 'layer', { size })
  return rights
}

for (const upstream of ['yes', 'not found'] as const) {
  test(`an upstream that answers late, ${upstream}: the bytes follow the headers, or an error does`, async (t) => {
    const rights = await start(t)
    await say(rights, upstream, { kind: 'blob', content })
    using hold = rights.hub.hold({ listener: 'registry', path: /blobs/ })
    const { reader, status } = await rights.repository('acme/app').blob(digest, {})
    await using _ = reader
    assert.deepEqual([reader.size, reader.isVerified, status], [size, false, 'miss'])
    assert.equal((await rights.catalog.held(app, digest))?.publicAt, undefined)
    hold.release()
    const reading = reader.read(new Uint8Array(1000), 0)
    if (upstream === 'not found') return assert.rejects(reading, { name: 'UpstreamError', code: 'NOT_FOUND' })
    assert.ok((await reading) > 0)
    await reader.verified()
    assert.ok(reader.isVerified)
    assert.notEqual((await rights.catalog.held(app, digest))?.publicAt, undefined)
    assert.equal(rights.hub.count({ method: 'HEAD', path: /blobs/ }), 0, 'the bytes are the answer')
  })
}

for (const [upstream, code] of [
  ['not found', 'NOT_FOUND'],
  ['503', 'SERVER_ERROR'],
] as const) {
  test(`the bytes come for another repository, and the own upstream says ${upstream}: none is handed out`, async (t) => {
    const rights = await start(t)
    rights.hub.addBlob('acme/secret', content)
    await say(rights, 'not found', { kind: 'blob', content })
    using hold = rights.hub.hold({ listener: 'registry', path: /acme\/secret\/blobs/ })
    const first = rights.repository('acme/secret').blob(digest, {})
    await hold.reached
    const { reader, status } = await rights.repository('acme/app').blob(digest, {})
    await using _ = reader
    assert.equal(status, 'joined')
    if (upstream === '503') rights.hub.fault({ listener: 'registry', path: /acme\/app/ }, { status: 503 })
    hold.release()
    await (await first).reader[Symbol.asyncDispose]()
    for (const _again of [1, 2]) {
      await assert.rejects(reader.read(new Uint8Array(1000), 0), { name: 'UpstreamError', code })
      await assert.rejects(reader.verified(), { code })
    }
    assert.equal((await rights.catalog.held(app, digest))?.publicAt, undefined)
  })
}
