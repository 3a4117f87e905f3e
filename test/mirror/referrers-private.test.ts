// Neighbours thought of: an upstream with an account, and a repository that is public, private from the start, private
// later, that while one of the two questions fails (500, 429); the upstream gone, and what was public seen a long while ago, or
// refused since.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { RepositoryName } from '../../src/oci/repository-name.ts'
import { repositoryKey } from '../../src/storage/repository-key.ts'
import { SqliteCatalog } from '../../src/storage/sqlite/sqlite-catalog.ts'
import { type Pulled, pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage, descriptorOf } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'

const app = buildImage({ seed: 'app' })
const signature = buildImage({ seed: 'sig', subject: app.manifest, artifactType: 'application/vnd.dev.sig' })
const account = { username: 'owner', password: 'secret' }
const hour = 60 * 60_000

const countOf = (answer: Pulled) => {
  assert.equal(answer.status, 200)
  return JSON.parse(answer.text).manifests.length
}

const repository = repositoryKey('docker.io', 'acme/app' as RepositoryName)

/** The list of a repository of which something was pulled. */
async function saveReferrers(catalog: SqliteCatalog, checkedAt: number): Promise<void> {
  await catalog.confirmed(repository, app.manifest.digest, { as: 'anyone', at: checkedAt })
  const referrers = [descriptorOf(signature.manifest)]
  await catalog.saveReferrers(repository, app.manifest.digest, { referrers, checkedAt })
}

async function startHub() {
  const hub = await startDockerHub({ referrers: true, accounts: { owner: 'secret' } })
  hub.addImage('acme/app', '1', app)
  hub.addImage('acme/app', undefined, signature)
  return hub
}

test('with an account: referrers are asked for as anyone, those of a private repository are shown to nobody', async () => {
  await using hub = await startHub()
  const upstreams = [{ name: 'docker.io', url: hub.url, ...account }]
  await using mirror = await startMirror({
    config: { upstreams, 'cache.revalidate': 0, 'cache.negative': 0 },
  })
  const ask = () => pull(`${mirror.url}/v2/acme/app/referrers/${app.manifest.digest}`)
  assert.equal(countOf(await ask()), 1)
  hub.setPrivate('acme/app')
  hub.expireTokens()
  assert.equal(countOf(await ask()), 0)
  hub.setPublic('acme/app')
  hub.expireTokens()
  assert.equal(countOf(await ask()), 1)
})

for (const [what, isRefused, count] of [
  ['that were public weeks ago are served', false, 1],
  ['of a repository that was refused since are held back', true, 0],
] as const) {
  test(`with an account, the upstream gone: referrers ${what}`, async (t) => {
    const directory = await mkdtemp(join(tmpdir(), 'larder-referrers-'))
    t.after(() => rm(directory, { recursive: true, force: true }))
    await using hub = await startHub()
    const catalog = await SqliteCatalog.open(join(directory, 'catalog.db'))
    await saveReferrers(catalog, Date.now() - 20 * 24 * hour)
    if (isRefused) await catalog.refused(repository, Date.now() - hour)
    await catalog[Symbol.asyncDispose]()
    const upstreams = [{ name: 'docker.io', url: hub.url, ...account }]
    await hub.stop()
    await using mirror = await startMirror({ directory, config: { upstreams } })
    const answer = await pull(`${mirror.url}/v2/acme/app/referrers/${app.manifest.digest}`)
    assert.equal(countOf(answer), count)
    assert.match(String(answer.headers.warning), /^299 - "/)
  })
}

for (const [what, failing] of [
  ['the API', /referrers/],
  ['the tag', /manifests\/sha256-/],
] as const) {
  for (const status of [500, 429]) {
    test(`turned private while ${what} answers ${status}: the list is shown to nobody, also once the upstream is gone`, async () => {
      await using hub = await startHub()
      const upstreams = [{ name: 'docker.io', url: hub.url, ...account }]
      await using mirror = await startMirror({
        config: { upstreams, 'cache.revalidate': 0, 'cache.negative': 0 },
      })
      await pull(`${mirror.url}/v2/acme/app/manifests/1`)
      const ask = () => pull(`${mirror.url}/v2/acme/app/referrers/${app.manifest.digest}`)
      assert.equal(countOf(await ask()), 1)
      hub.setPrivate('acme/app')
      hub.expireTokens()
      const fault = hub.fault({ listener: 'registry', path: failing }, { status })
      for (const _ of [1, 2]) {
        const answer = await ask()
        assert.equal(countOf(answer), 0)
        assert.match(String(answer.headers.warning), /nothing is known/)
      }
      await hub.stop()
      assert.equal(countOf(await ask()), 0)
      // After a 429 it is left alone for longer than a test should take.
      if (status === 429) return
      fault.remove()
      hub.setPublic('acme/app')
      hub.expireTokens()
      await hub.start()
      await until(async () => countOf(await ask()) === 1)
    })
  }
}

test('an answer in doubt makes a list no younger', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'larder-referrers-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  await using hub = await startHub()
  const catalog = await SqliteCatalog.open(join(directory, 'catalog.db'))
  await saveReferrers(catalog, Date.now() - hour)
  await catalog[Symbol.asyncDispose]()
  hub.fault({ listener: 'registry', path: /referrers/ }, { status: 429 })
  await using mirror = await startMirror({
    directory,
    upstream: hub.url,
    config: { 'cache.revalidate': 0, 'cache.negative': 0 },
  })
  const answer = await pull(`${mirror.url}/v2/acme/app/referrers/${app.manifest.digest}`)
  assert.equal(countOf(answer), 1)
  assert.ok(Number(answer.headers.age) >= 3600, `Age: ${answer.headers.age}`)
})
