/**
 * What is mirrored is forgotten, over real sockets. Thought of: a tag, a manifest by its digest with its tags, a child of
 * an index, a blob; lists of tags and of referrers; each in memory as well as on disk; what the upstream refused; names of
 * an upstream in their ways; another repository that has the same; an upstream that has moved on, or is gone; what was
 * never known; a restart.
 */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { pull } from '../support/client.ts'
import { type DockerHub, startDockerHub } from '../support/docker-hub.ts'
import { buildImage, buildIndex } from '../support/images.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { send } from '../support/push.ts'
import { until } from '../support/settle.ts'

const image = buildImage({ seed: 'forgotten', layers: [1000, 70_000] })
const digest = image.manifest.digest

async function start(t: TestContext, options: Parameters<typeof startMirror>[0] = {}) {
  const hub = await startDockerHub({ referrers: true })
  t.after(() => hub[Symbol.asyncDispose]())
  hub.addImage('library/app', 'latest', image)
  hub.addImage('library/app', 'v1', image)
  const mirror = await startMirror({ upstream: hub.url, ...options })
  t.after(() => mirror[Symbol.asyncDispose]())
  return { hub, mirror, repository: `${mirror.url}/v2/library/app` }
}

/** What was asked of the upstream for one answer. */
async function askedFor(hub: DockerHub, url: string, method = 'GET') {
  hub.reset()
  const { status, digest: got, text } = await pull(url, { method })
  const asked = hub.find({ listener: 'registry' }).map((request) => request.method)
  const gets = asked.filter((one) => one === 'GET').length
  return { status, digest: got, text, asked: asked.length, gets }
}

async function remove(url: string): Promise<number> {
  return (await send('DELETE', url)).status
}

function fileOf(mirror: TestMirror, of: string): string {
  const hex = of.slice('sha256:'.length)
  return join(mirror.directory, 'blobs', 'sha256', hex.slice(0, 2), hex)
}

test('a tag is forgotten alone, its upstream is not told, and the next pull asks it', async (t) => {
  const { hub, mirror, repository } = await start(t)
  for (const tag of ['latest', 'v1']) await pull(`${repository}/manifests/${tag}`)
  hub.reset()
  assert.equal(await remove(`${mirror.url}/v2/docker.io/app/manifests/latest`), 202)
  assert.equal(hub.count(), 0)
  assert.equal((await askedFor(hub, `${repository}/manifests/v1`)).asked, 0)
  assert.equal((await askedFor(hub, `${repository}/manifests/${digest}`)).asked, 0)
  // What it points at by now is the upstream's to say.
  const moved = buildImage({ seed: 'moved', layers: [100] })
  hub.addImage('library/app', 'latest', moved)
  const again = await askedFor(hub, `${repository}/manifests/latest`)
  assert.deepEqual([again.digest, again.asked > 0], [moved.manifest.digest, true])
  assert.equal((await askedFor(hub, `${repository}/manifests/latest`)).asked, 0)
  const [line] = mirror.events('forgotten: its upstream is asked when somebody wants it')
  assert.deepEqual(
    [line?.upstream, line?.repository, line?.reference, line?.client],
    ['docker.io', 'library/app', 'latest', '127.0.0.1'],
  )
})

test('a manifest is forgotten with its tags and its referrers, by GET and HEAD, and comes again', async (t) => {
  const { hub, repository } = await start(t)
  const list = `${repository}/referrers/${digest}`
  for (const path of ['latest', 'v1', digest]) await pull(`${repository}/manifests/${path}`)
  await pull(list)
  for (const [method, url] of [
    ['GET', `${repository}/manifests/${digest}`],
    ['HEAD', `${repository}/manifests/latest`],
    ['GET', list],
  ] as const) {
    assert.equal((await askedFor(hub, url, method)).asked, 0)
    assert.equal(await remove(`${repository}/manifests/${digest}`), 202)
    const { status, gets } = await askedFor(hub, url, method)
    assert.deepEqual([status, gets > 0], [200, true], url)
    for (const path of ['latest', 'v1', digest]) await pull(`${repository}/manifests/${path}`)
    await pull(list)
  }
})

test('what is known to refer to something that was never pulled is forgotten as well', async (t) => {
  const { hub, repository } = await start(t)
  const list = `${repository}/referrers/${digest}`
  await pull(list)
  assert.equal((await askedFor(hub, list)).asked, 0)
  assert.equal(await remove(`${repository}/manifests/${digest}`), 404)
  assert.ok((await askedFor(hub, list)).asked > 0)
})

test('the list of tags is asked for again once one is forgotten', async (t) => {
  const { hub, repository } = await start(t)
  const list = `${repository}/tags/list`
  await pull(`${repository}/manifests/v1`)
  await pull(list)
  assert.equal((await askedFor(hub, list)).asked, 0)
  assert.equal(await remove(`${repository}/manifests/v1`), 202)
  assert.ok((await askedFor(hub, list)).asked > 0)
  assert.equal((await askedFor(hub, list)).asked, 0)
})

test('a blob is forgotten, from memory and disk', async (t) => {
  const { hub, mirror, repository } = await start(t)
  await pull(`${repository}/manifests/latest`)
  for (const layer of image.layers) {
    const url = `${repository}/blobs/${layer.digest}`
    for (let round = 0; round < 2; round += 1) assert.equal((await pull(url)).digest, layer.digest)
    await until(() => existsSync(fileOf(mirror, layer.digest)))
    assert.equal(await remove(url), 202)
    assert.equal(existsSync(fileOf(mirror, layer.digest)), false)
    assert.equal(await remove(url), 404)
    hub.reset()
    assert.equal((await pull(url)).digest, layer.digest)
    assert.ok(hub.count({ digest: layer.digest, method: 'GET' }) > 0, 'it came again')
  }
})

test('bytes that another repository has stay, and are not given before the upstream says yes again', async (t) => {
  const { hub, mirror, repository } = await start(t)
  hub.addImage('library/other', 'latest', image)
  const [layer] = image.layers
  assert.ok(layer)
  for (const path of [`blobs/${layer.digest}`, `manifests/${digest}`]) {
    const [one, other] = ['app', 'other'].map((name) => `${mirror.url}/v2/library/${name}/${path}`)
    assert.ok(one && other)
    const { digest: theSame } = await pull(one)
    for (const url of [one, one, other, other]) assert.equal((await pull(url)).digest, theSame)
    assert.equal(await remove(one), 202)
    const again = await askedFor(hub, one)
    assert.deepEqual([again.digest, again.asked > 0], [theSame, true], path)
    assert.equal(hub.count({ listener: 'cdn', method: 'GET' }), 0, 'its bytes are here')
    assert.equal((await askedFor(hub, other)).asked, 0)
  }
  assert.equal((await send('HEAD', `${repository}/manifests/latest`)).status, 200)
})

test('a child of an index is forgotten although the index names it', async (t) => {
  const { hub, mirror } = await start(t)
  const index = buildIndex([image])
  hub.addImage('library/multi', 'latest', index)
  const repository = `${mirror.url}/v2/library/multi`
  for (const path of ['latest', digest]) await pull(`${repository}/manifests/${path}`)
  assert.equal(await remove(`${repository}/manifests/${digest}`), 202)
  const { status, asked } = await askedFor(hub, `${repository}/manifests/${digest}`)
  assert.deepEqual([status, asked > 0], [200, true])
  assert.equal((await askedFor(hub, `${repository}/manifests/latest`)).asked, 0)
})

test('what the upstream refused a moment ago is asked again', async (t) => {
  const { hub, repository } = await start(t)
  const url = `${repository}/manifests/soon`
  assert.equal((await pull(url)).status, 404)
  hub.addImage('library/app', 'soon', image)
  assert.equal((await pull(url)).status, 404, 'a refusal is remembered')
  assert.equal(await remove(url), 404, 'there was nothing')
  assert.equal((await pull(url)).status, 200)
})

test('what was never known: 404, and nobody is asked', async (t) => {
  const { hub, repository } = await start(t)
  hub.reset()
  for (const path of ['manifests/latest', `manifests/${digest}`, `blobs/${image.config.digest}`]) {
    const { status, code, message } = await send('DELETE', `${repository}/${path}`)
    assert.deepEqual([status, code], [404, path.startsWith('blobs') ? 'BLOB_UNKNOWN' : 'MANIFEST_UNKNOWN'])
    assert.match(message ?? '', /library\/app has no .* here/)
  }
  assert.equal(hub.count(), 0)
})

test('what was forgotten stays so after a restart', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'larder-forgetting-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  await using hub = await startDockerHub()
  hub.addImage('library/app', 'latest', image)
  {
    await using first = await startMirror({ upstream: hub.url, directory })
    await pull(`${first.url}/v2/library/app/manifests/latest`)
    assert.equal(await remove(`${first.url}/v2/library/app/manifests/${digest}`), 202)
  }
  await using second = await startMirror({ upstream: 'http://127.0.0.1:9', directory })
  for (const path of ['latest', digest])
    assert.equal((await pull(`${second.url}/v2/library/app/manifests/${path}`)).status, 503)
})
