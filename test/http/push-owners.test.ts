/**
 * Whose an upload is. Thought of: each way to touch it by another user, by nobody, and by its own with a token or after a
 * restart; one that nobody had logged in for.
 */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { buildImage } from '../support/images.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { beginUpload, send, withDigest } from '../support/push.ts'
import { basic, usersFile } from '../support/users.ts'

const [layer] = buildImage({ seed: 'owned' }).layers
const { bytes, digest } = layer ?? assert.fail()
const [ann, bob] = [basic('ann', 'one'), basic('bob', 'two')]

async function startIn(t: TestContext) {
  const directory = await mkdtemp(join(tmpdir(), 'larder-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const htpasswd = await usersFile(t, { ann: 'one', bob: 'two' })
  return (config: Record<string, unknown> = { 'auth.htpasswd': htpasswd }) =>
    startMirror({ directory, upstream: 'http://127.0.0.1:9', config })
}

async function assertUnknown(mirror: TestMirror, path: string, headers: Record<string, string>) {
  const url = mirror.url + path
  for (const [method, at] of [
    ['GET', url],
    ['PATCH', url],
    ['PUT', withDigest(url, digest)],
    ['DELETE', url],
  ] as const) {
    const { status, code } = await send(method, at, {
      headers,
      ...(method.startsWith('P') && { body: bytes }),
    })
    assert.deepEqual([status, code], [404, 'BLOB_UPLOAD_UNKNOWN'], method)
  }
}

test('an upload of one user is no one else’s, also after a restart', async (t) => {
  const start = await startIn(t)
  let path = ''
  {
    await using mirror = await start()
    path = new URL(await beginUpload(`${mirror.url}/v2/app`, ann)).pathname
    await assertUnknown(mirror, path, bob)
    const first = { headers: ann, body: bytes.subarray(0, 10) }
    assert.equal((await send('PATCH', mirror.url + path, first)).status, 202)
    await assertUnknown(mirror, path, bob)
  }
  await using mirror = await start()
  await assertUnknown(mirror, path, bob)
  const { headers } = await send('GET', mirror.url + path, { headers: ann })
  assert.equal(headers.range, '0-9')
  await assertUnknown(mirror, path, bob)
  const rest = { headers: ann, body: bytes.subarray(10) }
  assert.equal((await send('PUT', withDigest(mirror.url + path, digest), rest)).status, 201)
})

test('its own user goes on with a token', async (t) => {
  await using mirror = await (await startIn(t))()
  const url = await beginUpload(`${mirror.url}/v2/app`, ann)
  const tokenOf = async (headers: Record<string, string>) => {
    const asked = await send('GET', `${mirror.url}/token?scope=repository:app:pull,push`, { headers })
    return { authorization: `Bearer ${JSON.parse(asked.text).token}` }
  }
  assert.equal((await send('PATCH', url, { headers: await tokenOf(bob), body: bytes })).status, 404)
  assert.equal((await send('PATCH', url, { headers: await tokenOf(ann), body: bytes })).status, 202)
})

test('one that nobody had logged in for is whose who has its address; once nobody logs in, a user’s is lost', async (t) => {
  const start = await startIn(t)
  let [mine, path] = ['', '']
  {
    await using mirror = await start({})
    path = new URL(await beginUpload(`${mirror.url}/v2/app`)).pathname
    const first = { body: bytes.subarray(0, 10) }
    assert.equal((await send('PATCH', mirror.url + path, first)).status, 202)
  }
  {
    await using mirror = await start()
    mine = new URL(await beginUpload(`${mirror.url}/v2/app`, ann)).pathname
    const first = { headers: bob, body: bytes.subarray(10, 20) }
    assert.equal((await send('PATCH', mirror.url + path, first)).status, 202)
  }
  await using mirror = await start({})
  await assertUnknown(mirror, mine, {})
  const rest = { body: bytes.subarray(20) }
  assert.equal((await send('PUT', withDigest(mirror.url + path, digest), rest)).status, 201)
})
