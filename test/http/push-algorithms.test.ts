/**
 * sha256 and sha512 by every way that a blob is pushed, and blobs of no bytes. Thought of: the algorithm told at the begin,
 * told wrongly, told only by the digest; an algorithm that nobody knows; the single POST, with a body and without one.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { pull } from '../support/client.ts'
import { pseudoRandomBytes } from '../support/images.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { type Answered, send, withDigest } from '../support/push.ts'

const parts = new AsyncDisposableStack()
const algorithms = ['sha256', 'sha512'] as const
let mirror: TestMirror

before(async () => {
  mirror = parts.use(await startMirror({ upstream: 'http://127.0.0.1:9' }))
})
after(() => parts.disposeAsync())

function uploads(name: string): string {
  return `${mirror.url}/v2/${name}/blobs/uploads/`
}

/** Begins an upload, with its algorithm where that is told. */
async function begin(name: string, told?: string): Promise<string> {
  const begun = await send('POST', uploads(name) + (told === undefined ? '' : `?digest-algorithm=${told}`))
  assert.equal(begun.status, 202, begun.text)
  assert.equal(begun.text, '')
  return new URL(begun.headers.location ?? '', mirror.url).href
}

const ways: Readonly<
  Record<string, (name: string, digest: string, bytes: Uint8Array, told?: string) => Promise<Answered>>
> = {
  'the PUT alone': async (name, digest, body, told) =>
    send('PUT', withDigest(await begin(name, told), digest), { body }),
  'a PATCH and a PUT': async (name, digest, body, told) => {
    const url = await begin(name, told)
    const patched = await send('PATCH', url, { body })
    assert.deepEqual([patched.status, patched.text], [202, ''])
    return send('PUT', withDigest(url, digest))
  },
  'a streamed PATCH and a PUT': async (name, digest, bytes, told) => {
    const url = await begin(name, told)
    const half = bytes.length >> 1
    const body = [bytes.subarray(0, half), bytes.subarray(half)].filter(({ length }) => length > 0)
    assert.equal((await send('PATCH', url, { body })).status, 202)
    return send('PUT', withDigest(url, digest))
  },
  'a PATCH, and the rest in the PUT': async (name, digest, bytes, told) => {
    const url = await begin(name, told)
    const half = bytes.length >> 1
    assert.equal((await send('PATCH', url, { body: bytes.subarray(0, half) })).status, 202)
    return send('PUT', withDigest(url, digest), { body: bytes.subarray(half) })
  },
  'the POST alone': async (name, digest, body) => send('POST', withDigest(uploads(name), digest), { body }),
}

for (const [way, push] of Object.entries(ways)) {
  for (const size of [0, 1, 100_000]) {
    test(`${size} bytes by ${way}, under both algorithms, whichever was told`, async () => {
      const bytes = pseudoRandomBytes(size, way)
      for (const algorithm of algorithms) {
        for (const told of [undefined, ...algorithms]) {
          const name = `${algorithm}-${told ?? 'untold'}-${size}`
          const digest = digestOf(bytes, algorithm)
          const put = await push(name, digest, bytes, told)
          const { location, 'docker-content-digest': said } = put.headers
          assert.deepEqual([put.status, said, put.text], [201, digest, ''], `${digest} ${told}`)
          const { status, received } = await pull(new URL(location ?? '', mirror.url).href)
          assert.deepEqual([status, received], [200, size])
          const wrong = digestOf(pseudoRandomBytes(size + 1, 'wrong'), algorithm)
          const refused = await push(name, wrong, bytes, told)
          assert.deepEqual([refused.status, refused.code], [400, 'DIGEST_INVALID'])
        }
      }
    })
  }
}

test('an algorithm that is not known is refused before anything is sent', async () => {
  for (const told of ['md5', 'SHA256', '', 'sha256:', 'blake3']) {
    const { status, code, message } = await send('POST', `${uploads('unknown')}?digest-algorithm=${told}`)
    assert.deepEqual([status, code], [400, 'DIGEST_INVALID'], told)
    assert.match(message ?? '', /sha256 and sha512/)
  }
})

test('a single POST whose digest is that of nothing needs no body', async () => {
  const nothing = digestOf(new Uint8Array())
  assert.equal((await send('POST', withDigest(uploads('nothing'), nothing))).status, 201)
  const something = digestOf(pseudoRandomBytes(10, 'something'))
  const refused = await send('POST', withDigest(uploads('nothing'), something))
  assert.deepEqual([refused.status, refused.code], [400, 'DIGEST_INVALID'])
})
