// Neighbours thought of, here and in the two files beside this one: the API absent (404, 400, 405, 406, 410, 501),
// an HTML page, JSON that is no index, redirects (to a login page, in a circle, to a private address); it answers
// and the tag schema has older entries too; the same entry in both; the tag points at an image or at garbage; pages
// (relative, absolute, opaque, in a circle, without end, the second one failing, a foreign host); an outage of both,
// of one; a rate limit; silence; a circuit that is open; a restart without the upstream; an unknown repository, one
// that became private, a made-up digest; sha512; HEAD; several types in the filter; hostile descriptors.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { atOnceMs } from '../support/at-once.ts'
import { type Pulled, pull } from '../support/client.ts'
import { pullAsDocker29 } from '../support/docker-29.ts'
import { type DockerHub, type DockerHubOptions, startDockerHub } from '../support/docker-hub.ts'
import { buildImage, buildIndex, type TestImage } from '../support/images.ts'
import { type MirrorOptions, startMirror, type TestMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'

const indexType = 'application/vnd.oci.image.index.v1+json'
const app = buildImage({ seed: 'app' })
const attestation = buildImage({ seed: 'attestation', platform: { os: 'unknown', architecture: 'unknown' } })
const image = buildIndex([app, attestation])
const signature = buildImage({ seed: 'sig', subject: app.manifest, artifactType: 'application/vnd.dev.sig' })
const sbom = buildImage({ seed: 'sbom', subject: app.manifest, artifactType: 'application/spdx+json' })
const ofTheSchema = (subject: TestImage) => `sha256-${subject.manifest.digest.slice(7)}`
const questions = { listener: 'registry', path: /referrers|sha256-/ } as const

async function start(hubOptions: DockerHubOptions = {}, options: MirrorOptions = {}) {
  const hub = await startDockerHub({ referrers: true, ...hubOptions })
  hub.addImage('library/app', 'latest', image)
  const mirror = await startMirror({ upstream: hub.url, ...options })
  await using all = new AsyncDisposableStack()
  all.use(hub)
  all.use(mirror)
  const owned = all.move()
  return { hub, mirror, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

function referrersOf(mirror: TestMirror, subject: string, query = ''): Promise<Pulled> {
  return pull(`${mirror.url}/v2/library/app/referrers/${subject}${query}`)
}

function digestsOf(answer: Pulled): string[] {
  const { schemaVersion, mediaType, manifests } = JSON.parse(answer.text)
  assert.deepEqual([answer.status, answer.headers['content-type']], [200, indexType])
  assert.deepEqual([schemaVersion, mediaType], [2, indexType])
  return manifests.map(({ digest }: { digest: string }) => digest)
}

for (const referrers of [true, false]) {
  const kind = referrers ? 'has the referrers API' : 'has no referrers API'
  test(`Docker 29, an image with an attestation, an upstream that ${kind}: the second pull asks nobody`, async () => {
    await using s = await start({ referrers })
    const order = ['HEAD manifests 200', ...Array(3).fill('GET manifests 200'), 'GET referrers 200']
    const first = await pullAsDocker29(s.mirror.url, 'library/app', 'latest')
    assert.deepEqual(first.asked, [...order, ...Array(4).fill('GET blobs 200')])
    assert.deepEqual(digestsOf(first.referrers), [])
    assert.equal(s.hub.count({ ...questions, path: /referrers/ }), 1)
    assert.equal(s.hub.count({ ...questions, path: /sha256-/ }), 1)
    s.hub.reset()
    const second = await pullAsDocker29(s.mirror.url, 'library/app', 'latest')
    assert.deepEqual(second.asked, first.asked)
    assert.equal(second.referrers.headers['x-larder-cache'], 'hit')
    assert.equal(s.hub.count(), 0)
  })
}

test('Docker 29, the line cut after the first pull, and Larder restarted: all is answered, at once', async () => {
  await using s = await start()
  await pullAsDocker29(s.mirror.url, 'library/app', 'latest')
  await until(async () => (await s.mirror.metric('larder_fills_running')) === 0)
  await s.hub.stop()
  const { directory } = s.mirror
  await s.mirror.app[Symbol.asyncDispose]()
  await using later = await startMirror({
    upstream: s.hub.url,
    directory,
    config: { 'cache.revalidate': 0 },
  })
  for (const round of [1, 2]) {
    const { asked, referrers } = await pullAsDocker29(later.url, 'library/app', 'latest')
    assert.ok(
      asked.every((line) => line.endsWith(' 200')),
      asked.join(),
    )
    assert.equal(referrers.headers['x-larder-cache'], 'stale', `round ${round}`)
    assert.match(String(referrers.headers.warning), /^299 - "/)
    assert.ok(referrers.totalMs < atOnceMs)
  }
})

test('an older client that asks for the tag of the schema as well: the second time nobody is asked', async () => {
  await using s = await start({ referrers: false })
  const tag = `${s.mirror.url}/v2/library/app/manifests/${ofTheSchema(app)}`
  await referrersOf(s.mirror, app.manifest.digest)
  assert.equal((await pull(tag)).status, 404)
  assert.equal(s.hub.count({ ...questions, path: /sha256-/, status: 404 }), 1)
})

test('what the API tells and what the tag schema has from before are one list, each digest once', async () => {
  await using s = await start()
  for (const one of [signature, sbom]) s.hub.addImage('library/app', undefined, one)
  const older = buildImage({ seed: 'older' })
  s.hub.addImage('library/app', ofTheSchema(app), buildIndex([older, signature]))
  const found = digestsOf(await referrersOf(s.mirror, app.manifest.digest))
  const expected = [signature, sbom, older].map(({ manifest }) => manifest.digest)
  assert.deepEqual(found, expected)
})

test('a registry without the API: the tag schema alone, and the second question asks for it at once', async () => {
  await using s = await start({ referrers: false })
  s.hub.addImage('library/app', ofTheSchema(app), buildIndex([signature]))
  await pullAsDocker29(s.mirror.url, 'library/app', 'latest')
  assert.equal(s.hub.count({ ...questions, path: /referrers/ }), 1)
  assert.deepEqual(digestsOf(await referrersOf(s.mirror, app.manifest.digest)), [signature.manifest.digest])
  assert.equal(s.hub.count({ ...questions, path: /referrers/ }), 1)
})

test('names that somebody makes up do not make the API look useless', async () => {
  await using s = await start()
  s.hub.addImage('library/app', undefined, signature)
  const madeUp = `${s.mirror.url}/v2/library/none/referrers/${app.manifest.digest}`
  assert.deepEqual(digestsOf(await pull(madeUp)), [])
  assert.deepEqual(digestsOf(await referrersOf(s.mirror, `sha256:${'0'.repeat(64)}`)), [])
  assert.deepEqual(digestsOf(await referrersOf(s.mirror, app.manifest.digest)), [signature.manifest.digest])
})

for (const unknownRepository of ['denied', 'unknown'] as const) {
  test(`a repository that the upstream does not have (${unknownRepository}) has no referrers, and is asked for once`, async () => {
    await using s = await start({ unknownRepository })
    const url = `${s.mirror.url}/v2/library/none/referrers/${app.manifest.digest}`
    assert.deepEqual(digestsOf(await pull(url)), [])
    s.hub.reset()
    assert.deepEqual(digestsOf(await pull(url)), [])
    assert.equal(s.hub.count(questions), 0)
  })
}

test('the filter is applied here; the upstream is asked without it, and only once', async () => {
  await using s = await start()
  for (const one of [signature, sbom]) s.hub.addImage('library/app', undefined, one)
  for (const [query, expected] of [
    ['?artifactType=application/spdx%2Bjson', [sbom]],
    ['?artifactType=application%2fspdx+json', [sbom]],
    ['?artifactType=application/vnd.dev.sig&ns=docker.io', [signature]],
    ['?artifactType=application/vnd.dev.sig&artifactType=application/spdx%2Bjson', [signature, sbom]],
    ['?artifactType=application/none', []],
  ] as const) {
    const answer = await referrersOf(s.mirror, app.manifest.digest, query)
    assert.equal(answer.headers['oci-filters-applied'], 'artifactType')
    assert.deepEqual(
      digestsOf(answer),
      expected.map(({ manifest }) => manifest.digest),
    )
  }
  const all = await referrersOf(s.mirror, app.manifest.digest, '?artifactType=')
  assert.equal(all.headers['oci-filters-applied'], undefined)
  assert.equal(digestsOf(all).length, 2)
  assert.deepEqual(
    s.hub.find({ ...questions, path: /referrers/, status: 200 }).map(({ url }) => url),
    [`/v2/library/app/referrers/${app.manifest.digest}`],
  )
})

test('HEAD is answered as GET, without the body; an invalid digest and another method are refused', async () => {
  await using s = await start()
  const url = `${s.mirror.url}/v2/library/app/referrers/${app.manifest.digest}`
  const [got, head] = [await pull(url), await pull(url, { method: 'HEAD' })]
  assert.deepEqual([head.status, head.received], [200, 0])
  for (const name of ['content-type', 'content-length']) assert.equal(head.headers[name], got.headers[name])
  for (const digest of ['latest', 'sha256:abc', `md5:${'0'.repeat(32)}`, `sha256:${'A'.repeat(64)}`]) {
    const { status } = await pull(`${s.mirror.url}/v2/library/app/referrers/${digest}`)
    assert.ok(status === 400 || status === 404, `${digest}: ${status}`)
  }
  assert.equal((await pull(url, { method: 'PUT' })).status, 405)
})

test('a sha512 subject: the tag of the schema is cut to 64 digits, as the specification says', async () => {
  await using s = await start()
  const hex = 'ab'.repeat(64)
  s.hub.addImage('library/app', `sha512-${hex.slice(0, 64)}`, buildIndex([signature]))
  assert.deepEqual(digestsOf(await referrersOf(s.mirror, `sha512:${hex}`)), [signature.manifest.digest])
})

test('a list that is no longer fresh is checked again, and what is new is seen', async () => {
  await using s = await start({}, { config: { 'cache.revalidate': 0 } })
  s.hub.addImage('library/app', undefined, signature)
  const ask = () => referrersOf(s.mirror, app.manifest.digest)
  assert.equal((await ask()).headers['x-larder-cache'], 'miss')
  assert.equal((await ask()).headers['x-larder-cache'], 'revalidated')
  s.hub.addImage('library/app', undefined, sbom)
  assert.equal(digestsOf(await ask()).length, 2)
})

test('many who ask at once cost one question', async () => {
  await using s = await start()
  s.hub.addImage('library/app', undefined, signature)
  using hold = s.hub.hold({ listener: 'registry', path: /referrers/ })
  const asking = Array.from({ length: 20 }, () => referrersOf(s.mirror, app.manifest.digest))
  await hold.reached
  hold.release()
  for (const answer of await Promise.all(asking)) assert.equal(digestsOf(answer).length, 1)
  assert.equal(s.hub.count({ ...questions, path: /referrers/, status: 200 }), 1)
})

async function withKept(s: { hub: DockerHub; mirror: TestMirror }): Promise<() => Promise<Pulled>> {
  s.hub.addImage('library/app', undefined, signature)
  await pull(`${s.mirror.url}/v2/library/app/manifests/${app.manifest.digest}`)
  const ask = () => referrersOf(s.mirror, app.manifest.digest)
  assert.equal(digestsOf(await ask()).length, 1)
  return ask
}

for (const status of [429, 500, 503]) {
  test(`${status} from the upstream: the list that is here is served, and says so`, async () => {
    await using s = await start({}, { config: { 'cache.revalidate': 0, 'cache.negative': 0 } })
    const ask = await withKept(s)
    const fault = s.hub.fault(questions, { status })
    const stale = await ask()
    assert.deepEqual(digestsOf(stale), [signature.manifest.digest])
    assert.equal(stale.headers['x-larder-cache'], 'stale')
    assert.match(String(stale.headers.warning), /^299 - "/)
    fault.remove()
  })
}

test('a slow upstream: the list that is here is served after cache.staleAfter, and the check goes on behind', async () => {
  await using s = await start({}, { config: { 'cache.revalidate': 0, 'cache.staleAfter': '100ms' } })
  const ask = await withKept(s)
  s.hub.addImage('library/app', undefined, sbom)
  using hold = s.hub.hold(questions)
  assert.equal((await ask()).headers['x-larder-cache'], 'stale')
  hold.release()
  await until(async () => digestsOf(await ask()).length === 2)
})

test('nothing is known and the upstream is gone: empty, at once as soon as that is known, and no fact', async () => {
  await using s = await start()
  await s.hub.stop()
  const ask = () => referrersOf(s.mirror, app.manifest.digest)
  for (let round = 0; round < 3; round += 1) {
    const answer = await ask()
    assert.deepEqual(digestsOf(answer), [])
    assert.match(String(answer.headers.warning), /nothing is known/)
    assert.ok(round === 0 || answer.totalMs < atOnceMs, `${answer.totalMs} ms`)
  }
  await s.hub.start()
  s.hub.addImage('library/app', undefined, signature)
  await until(async () => digestsOf(await ask()).length === 1)
})

test('an upstream that refuses for a while does not make forgotten what it told before', async () => {
  const config = { 'cache.revalidate': 0, 'cache.negative': 0 }
  await using s = await start({}, { config })
  const ask = await withKept(s)
  const fault = s.hub.fault(questions, { status: 404 })
  assert.deepEqual(digestsOf(await ask()), [])
  fault.remove()
  await s.hub.stop()
  const stale = await ask()
  assert.deepEqual(digestsOf(stale), [signature.manifest.digest])
})

test('the API fails and the tag schema answers: what is known stays, and the answer says that it may lack some', async () => {
  await using s = await start({}, { config: { 'cache.revalidate': 0, 'cache.negative': 0 } })
  const ask = await withKept(s)
  s.hub.addImage('library/app', ofTheSchema(app), buildIndex([sbom]))
  s.hub.fault({ ...questions, path: /referrers/ }, { status: 500 })
  const answer = await ask()
  assert.deepEqual(digestsOf(answer).sort(), [signature, sbom].map(({ manifest }) => manifest.digest).sort())
  assert.match(String(answer.headers.warning), /there may be more/)
})
