/**
 * Whose a name is. Thought of: pushed by tag, by digest alone, blobs alone; the last tag gone, the last manifest gone;
 * set aside and never pushed; every route of both, with a live upstream that counts what it is asked; a pull of a name
 * that could be pushed and was not, with the upstream there and gone.
 */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { pushBlob, pushImage, pushManifest, send } from '../support/push.ts'
import { until } from '../support/settle.ts'

const image = buildImage({ seed: 'local names', layers: [1000] })
const theirs = buildImage({ seed: 'their names', layers: [1000] })
const { digest } = image.manifest

test('a name is this mirror’s while a manifest that was pushed is in it, under a tag or not', async () => {
  await using hub = await startDockerHub()
  hub.addImage('library/app', 'latest', theirs)
  await using mirror = await startMirror({ upstream: hub.url })
  const repository = `${mirror.url}/v2/app`
  const isTheirs = async () => {
    hub.reset()
    const { status, digest: got } = await pull(`${repository}/manifests/latest`)
    if (status === 200) assert.equal(got, theirs.manifest.digest)
    else assert.deepEqual([status, hub.count()], [404, 0])
    return status === 200
  }
  assert.equal(await isTheirs(), true)
  for (const blob of [image.config, ...image.layers]) await pushBlob(repository, blob)
  assert.equal(await isTheirs(), true, 'blobs alone take no name')
  assert.equal((await pushManifest(repository, digest, image.manifest)).status, 201)
  assert.equal(await isTheirs(), false, 'pushed by its digest alone')
  assert.equal((await pushManifest(repository, 'v1', image.manifest)).status, 201)
  assert.equal((await send('DELETE', `${repository}/manifests/v1`)).status, 202)
  assert.equal(await isTheirs(), false, 'the manifest is still there')
  assert.equal((await pull(`${repository}/manifests/${digest}`)).status, 200)
  assert.equal((await send('DELETE', `${repository}/manifests/${digest}`)).status, 202)
  assert.equal(await isTheirs(), true)
  const about = mirror.events().filter((event) => event.repository === 'app' && !('status' in event))
  assert.deepEqual(
    about.map(({ msg }) => msg),
    [
      'the name belongs to this mirror alone from now on: no upstream is asked about it',
      'pushed',
      'pushed',
      'deleted',
      'deleted',
      'nothing that was pushed is left under the name',
    ],
  )
})

test('no upstream is ever asked for a name that is local, by any route', async () => {
  await using hub = await startDockerHub({ referrers: true })
  const unknown = `sha256:${'0'.repeat(64)}`
  for (const name of ['library/app', 'app', 'local/app', 'local/never', 'library/never'])
    hub.addImage(name, 'latest', theirs)
  await using mirror = await startMirror({ upstream: hub.url })
  for (const name of ['app', 'local/app']) await pushImage(`${mirror.url}/v2/${name}`, 'v1', image)
  hub.reset()
  for (const name of ['app', 'local/app', 'local/never']) {
    const repository = `${mirror.url}/v2/${name}`
    const references = ['v1', 'latest', digest, theirs.manifest.digest, unknown]
    const blobs = [image.config.digest, theirs.config.digest, unknown]
    const paths = [
      ...references.map((reference) => `manifests/${reference}`),
      ...blobs.map((blob) => `blobs/${blob}`),
      'tags/list',
      'tags/list?n=1&last=a',
      ...[digest, theirs.manifest.digest].map((subject) => `referrers/${subject}`),
    ]
    for (const path of paths)
      for (const method of ['GET', 'HEAD']) await send(method, `${repository}/${path}`)
    for (const from of ['app', 'local/never', 'nothing'])
      await send('POST', `${repository}/blobs/uploads/?mount=${theirs.config.digest}&from=${from}`)
    await send('POST', `${repository}/blobs/uploads/?mount=${theirs.config.digest}`)
    await send('GET', `${repository}/blobs/uploads/nothing`)
    await pushManifest(repository, 'latest', theirs.manifest)
    for (const path of [`manifests/latest`, `manifests/${unknown}`, `blobs/${unknown}`])
      await send('DELETE', `${repository}/${path}`)
  }
  assert.equal(hub.count(), 0)
})

test('a name that could be pushed and was not is pulled from its upstream, by HEAD and GET', async () => {
  await using hub = await startDockerHub()
  hub.addImage('library/app', 'latest', theirs)
  await using mirror = await startMirror({ upstream: hub.url })
  for (const method of ['HEAD', 'GET']) {
    const { status, headers } = await pull(`${mirror.url}/v2/app/manifests/latest`, { method })
    assert.deepEqual([status, headers['docker-content-digest']], [200, theirs.manifest.digest])
  }
  for (const { digest: layer } of theirs.layers)
    assert.equal((await pull(`${mirror.url}/v2/app/blobs/${layer}`)).digest, layer)
})

test('an upstream that is gone keeps nobody from pushing, and is told of to whoever pulls', async () => {
  await using mirror = await startMirror({ upstream: 'http://127.0.0.1:9' })
  const head = async (name: string, reference = 'v1') =>
    (await send('HEAD', `${mirror.url}/v2/${name}/manifests/${reference}`)).status
  assert.equal(await head('app'), 404, 'crane begins with the tag')
  assert.equal(await head('app', digest), 404, 'others with a digest')
  assert.equal(await head('owner/app', digest), 503, 'nothing can be pushed there')
  await pushBlob(`${mirror.url}/v2/app`, image.config)
  assert.equal(await head('app'), 404)
  const asked = await send('GET', `${mirror.url}/v2/app/manifests/v1`)
  assert.deepEqual([asked.status, asked.code], [503, 'UNAVAILABLE'])
})

test('whoever looks whether it is there, to push where nothing can be pushed, is told so though the upstream is gone', async () => {
  await using mirror = await startMirror({ upstream: 'http://127.0.0.1:9' })
  const nameOf = (name: string) => `${mirror.url}/v2/${name}`
  const { status } = await send('HEAD', `${nameOf('team/app')}/blobs/${digest}`)
  await send('HEAD', `${nameOf('team/app')}/manifests/v1`)
  const { message } = await send('GET', `${nameOf('team/app')}/manifests/v1`)
  assert.doesNotMatch(message ?? '', /push/, 'who pulls by GET')
  await send('HEAD', `${nameOf('app')}/manifests/v1`)
  await until(() => mirror.events('request').length === 4)
  const [blob, tag, , own] = mirror.events('request').map(({ error }) => `${error}`)
  const note =
    ': if this is a push, nothing can be pushed to team/app, which is mirrored from docker.io: push there, or here under a name that belongs to this mirror alone (*, local/**: local.repositories in mirror.yml)'
  assert.equal(status, 503)
  for (const error of [blob, tag]) assert.ok(error?.endsWith(note), error)
  assert.doesNotMatch(own ?? '', /if this is a push/, 'a name that can be pushed')
})

test('what was pushed stays this mirror’s when its name cannot be pushed any more', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'larder-names-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  await using hub = await startDockerHub()
  for (const name of ['library/app', 'team/app']) hub.addImage(name, 'latest', theirs)
  const before = { 'local.repositories': ['*', 'team/*'] }
  {
    await using first = await startMirror({ upstream: hub.url, directory, config: before })
    for (const name of ['app', 'team/app']) await pushImage(`${first.url}/v2/${name}`, 'v1', image)
  }
  await using mirror = await startMirror({
    upstream: hub.url,
    directory,
    config: { 'local.repositories': ['mine/*'] },
  })
  for (const name of ['app', 'team/app']) {
    const repository = `${mirror.url}/v2/${name}`
    assert.equal((await pull(`${repository}/manifests/v1`)).digest, digest)
    for (const path of ['manifests/latest', `blobs/${theirs.config.digest}`])
      for (const method of ['GET', 'HEAD'])
        assert.equal((await pull(`${repository}/${path}`, { method })).status, 404, `${method} ${name}`)
    const { status, code, message } = await pushManifest(repository, 'v2', image.manifest)
    assert.deepEqual([status, code], [403, 'DENIED'])
    assert.match(message ?? '', /nothing can be pushed to .*, not any more: push under .*\(mine\/\*: /)
  }
  assert.equal(hub.count(), 0)
  assert.equal((await send('DELETE', `${mirror.url}/v2/app/manifests/${digest}`)).status, 202)
  assert.equal((await pull(`${mirror.url}/v2/app/manifests/latest`)).digest, theirs.manifest.digest)
})
