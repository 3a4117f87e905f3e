// Neighbours thought of: a tag of the referrers tag schema that is there, that is not; plenty of pulls, none left; the
// first question, and the next one once the list is no longer fresh, with the tag as it was and with another index
// behind it; an upstream that does not count, where a GET tells as much as a HEAD; a HEAD that is no use there; with an
// account, whose quota it is then.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { type DockerHubOptions, startDockerHub } from '../support/docker-hub.ts'
import { buildImage, buildIndex } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'

const image = buildImage({ seed: 'app' })
const signature = buildImage({
  seed: 'sig',
  subject: image.manifest,
  artifactType: 'application/vnd.dev.sig',
})
const sbom = buildImage({ seed: 'sbom', subject: image.manifest, artifactType: 'application/spdx+json' })
const schemaTag = `sha256-${image.manifest.digest.slice(7)}`
const asked = { listener: 'registry', path: /sha256-/ } as const

/** A mirror whose upstream has just told how many pulls are left, if it tells. */
async function start(options: DockerHubOptions, account = {}) {
  await using all = new AsyncDisposableStack()
  const hub = all.use(await startDockerHub(options))
  hub.addImage('library/app', 'latest', image)
  const mirror = all.use(
    await startMirror({
      config: {
        upstreams: [{ name: 'docker.io', url: hub.url, ...account }],
        'cache.revalidate': 0,
        'cache.negative': 0,
      },
    }),
  )
  const ask = async () => {
    const answer = await pull(`${mirror.url}/v2/library/app/referrers/${image.manifest.digest}`)
    assert.equal(answer.status, 200)
    const { manifests } = JSON.parse(answer.text)
    return manifests.map(({ digest }: { digest: string }) => digest) as string[]
  }
  assert.equal((await pull(`${mirror.url}/v2/library/app/manifests/latest`)).status, 200)
  hub.reset()
  const counts = () => (['HEAD', 'GET'] as const).map((method) => hub.count({ ...asked, method }))
  const owned = all.move()
  return { hub, mirror, ask, counts, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

test('a registry that counts pulls: that an image has no referrers is found out without one, in one round trip', async () => {
  await using s = await start({ quota: 100 })
  assert.deepEqual(await s.ask(), [])
  assert.deepEqual(s.counts(), [1, 0])
  assert.deepEqual(await s.ask(), [])
  assert.deepEqual(s.counts(), [2, 0])
})

test('a registry that counts pulls: referrers cost one when they are new, and none as long as they stay', async () => {
  await using s = await start({ quota: 100 })
  s.hub.addImage('library/app', schemaTag, buildIndex([signature]))
  for (const round of [1, 2, 3]) {
    assert.deepEqual(await s.ask(), [signature.manifest.digest])
    assert.deepEqual(s.counts(), [round, 1])
  }
  s.hub.addImage('library/app', schemaTag, buildIndex([signature, sbom]))
  assert.deepEqual(await s.ask(), [signature.manifest.digest, sbom.manifest.digest])
  assert.deepEqual(s.counts(), [4, 2])
})

test('no pulls are left: that an image has no referrers is told without a doubt', async () => {
  await using s = await start({ quota: 100 })
  s.hub.setRemaining(0)
  const answer = await pull(`${s.mirror.url}/v2/library/app/referrers/${image.manifest.digest}`)
  assert.deepEqual([answer.status, answer.headers.warning], [200, undefined])
  assert.deepEqual(s.counts(), [1, 0])
})

test('a registry that does not count: one question by GET', async () => {
  await using s = await start({})
  assert.deepEqual(await s.ask(), [])
  assert.deepEqual(s.counts(), [0, 1])
  s.hub.addImage('library/app', schemaTag, buildIndex([signature]))
  assert.deepEqual(await s.ask(), [signature.manifest.digest])
  assert.deepEqual(s.counts(), [0, 2])
})

test('with an account: one HEAD as anyone tells that there are none', async () => {
  await using s = await start(
    { quota: 100, accounts: { ann: 'secret' } },
    { username: 'ann', password: 'secret' },
  )
  assert.deepEqual(await s.ask(), [])
  assert.deepEqual(s.counts(), [1, 0])
})

test('the upstream goes away: the referrers that the tag had are still told, with a warning', async () => {
  await using s = await start({ quota: 100 })
  s.hub.addImage('library/app', schemaTag, buildIndex([signature]))
  await s.ask()
  await s.hub.stop()
  const answer = await pull(`${s.mirror.url}/v2/library/app/referrers/${image.manifest.digest}`)
  assert.match(answer.text, new RegExp(signature.manifest.digest))
  assert.match(String(answer.headers.warning), /there may be more referrers/)
  await until(async () => (await s.mirror.metric('larder_fills_running')) === 0)
})
