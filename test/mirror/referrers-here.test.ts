/** What is here of a mirrored repository and refers to something, as its upstream does or does not tell itself. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { referrersHere } from '../../src/mirror/referrers-here.ts'
import { DocumentReader } from '../../src/oci/document-reader.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { alpine } from '../storage/catalog-fixtures.ts'
import { pull } from '../support/client.ts'
import { type DockerHubOptions, startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'

const app = buildImage({ seed: 'app' })
const signature = buildImage({ seed: 'sig', subject: app.manifest, artifactType: 'application/vnd.dev.sig' })

async function start(options: DockerHubOptions) {
  await using parts = new AsyncDisposableStack()
  const hub = parts.use(await startDockerHub(options))
  hub.addImage('library/app', 'latest', app)
  hub.addImage('library/app', 'signature', signature)
  const mirror = parts.use(
    await startMirror({ upstream: hub.url, config: { 'cache.revalidate': 0, 'cache.negative': 0 } }),
  )
  const pulled = (reference: string) => pull(`${mirror.url}/v2/library/app/manifests/${reference}`)
  const list = async (query = '') => {
    const answer = await pull(`${mirror.url}/v2/library/app/referrers/${app.manifest.digest}${query}`)
    assert.equal(answer.status, 200)
    const found = JSON.parse(answer.text).manifests as { digest: string; artifactType: string }[]
    return { found, warning: answer.headers.warning }
  }
  assert.equal((await pulled('latest')).status, 200)
  const owned = parts.move()
  return { hub, mirror, pulled, list, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

const listed = {
  mediaType: signature.manifest.mediaType,
  digest: signature.manifest.digest,
  size: signature.manifest.size,
  artifactType: 'application/vnd.dev.sig',
}

test('an upstream without the API: what was pulled is listed', async () => {
  await using s = await start({ referrers: false })
  assert.deepEqual((await s.list()).found, [])
  await s.pulled('signature')
  assert.deepEqual((await s.list()).found, [listed])
  assert.deepEqual((await s.list('?artifactType=application/vnd.dev.sig')).found, [listed])
  assert.deepEqual((await s.list('?artifactType=text/plain')).found, [])
})

test('an upstream that is gone: what is here is the list, and says that it need not be all', async () => {
  await using s = await start({ referrers: true })
  await s.pulled('signature')
  await s.hub.stop()
  const { found, warning } = await s.list()
  assert.deepEqual(found, [listed])
  assert.match(String(warning), /there may be more referrers than these/)
})

test('an upstream with the API knows its own list: what it takes out of it is not listed', async () => {
  await using s = await start({ referrers: true })
  await s.pulled('signature')
  assert.deepEqual((await s.list()).found, [listed])
  s.hub.remove('library/app', signature.manifest.digest)
  assert.deepEqual((await s.list()).found, [])
})

test('what only an account was given, or is damaged, is not listed', async () => {
  const catalog = new MemoryCatalog()
  const options = { catalog, documents: new DocumentReader() }
  const here = () => referrersHere(options, alpine, app.manifest.digest)
  const references = [{ target: app.manifest.digest, kind: 'subject' } as const]
  await catalog.pulled(alpine, signature.manifest, { as: 'account', at: 1, references })
  assert.deepEqual(await here(), [])
  await catalog.confirmed(alpine, signature.manifest.digest, { as: 'anyone', at: 2 })
  assert.deepEqual(await here(), [listed])
  catalog.tables.manifests.set(signature.manifest.digest, Buffer.from('{'))
  assert.deepEqual(await here(), [])
})
