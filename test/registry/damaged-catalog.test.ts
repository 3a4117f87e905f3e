// Thought of: garbage in any table, in an index, in the header; met by a pull, by a push, or by the start; what came from
// an upstream, and what is nowhere else; a manifest whose bytes went bad, which no page tells.
import assert from 'node:assert/strict'
import { cp, mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, test } from 'node:test'
import { pull } from '../support/client.ts'
import { type DockerHub, startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { pushImage } from '../support/push.ts'

const image = buildImage({ layers: [100_000, 1000], seed: 'mirrored' })
const own = buildImage({ layers: [100_000, 1000], seed: 'pushed' })
const more = buildImage({ layers: [2000], seed: 'more' })
const parts = new AsyncDisposableStack()
let hub: DockerHub
let folder: string

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'larder-'))
  parts.defer(() => rm(folder, { recursive: true }))
  hub = parts.use(await startDockerHub())
  hub.addImage('library/app', 'latest', image)
  await using mirror = await startMirror({ upstream: hub.url, directory: join(folder, 'whole') })
  await pushImage(`${mirror.url}/v2/mine`, 'v1', own)
  for (const { url } of pulls(mirror)) assert.equal((await pull(url)).status, 200)
})
after(() => parts.disposeAsync())

/** All that clients ask of the two images, and whether nobody else has it. */
function pulls(mirror: TestMirror) {
  return [
    { name: 'library/app', of: image, tag: 'latest', isOwn: false },
    { name: 'mine', of: own, tag: 'v1', isOwn: true },
  ].flatMap(({ name, of, tag, isOwn }) =>
    [
      `manifests/${tag}`,
      `manifests/${of.manifest.digest}`,
      ...[of.config, ...of.layers].map(({ digest }) => `blobs/${digest}`),
      'tags/list',
      `referrers/${of.manifest.digest}`,
    ].map((path) => ({ url: `${mirror.url}/v2/${name}/${path}`, isOwn })),
  )
}

/** A copy of the data folder. */
async function copied(name: string): Promise<string> {
  const directory = join(folder, name)
  await cp(join(folder, 'whole'), directory, { recursive: true })
  return directory
}

/** Writes garbage over all pages of a table or an index; over the first page where none is given. */
async function damage(directory: string, name?: string): Promise<void> {
  const path = join(directory, 'catalog.db')
  let pages = [1]
  if (name !== undefined) {
    // A copy: whoever asks the catalog itself would see what the mirror has not written to it yet.
    using database = new DatabaseSync(join(folder, 'whole/catalog.db'), { readOnly: true })
    const rows = database.prepare('SELECT pageno FROM dbstat WHERE name = ?').all(name)
    pages = rows.map(({ pageno }) => Number(pageno))
  }
  await using file = await open(path, 'r+')
  for (const page of pages) await file.write(Buffer.alloc(4096, 'garbage'), 0, 4096, (page - 1) * 4096)
}

const told = 'the catalog is damaged: it was set aside, and what can be read of it is in a new one'
const names = [
  'repository',
  'holding',
  'manifest',
  'reference',
  'tag',
  'blob',
  'tag_of',
  'holding_public',
  'upload',
]
/** What was pushed here cannot be told from anything else. */
const irreplaceable = ['holding', 'manifest']

for (const name of names) {
  test(`garbage in ${name} while it runs: no request fails, what is anywhere is served, and it is told once`, async () => {
    const directory = await copied(`running-${name}`)
    {
      await using mirror = await startMirror({ upstream: hub.url, directory })
      await damage(directory, name)
      await assertServed(mirror, irreplaceable.includes(name))
      await pushImage(`${mirror.url}/v2/mine`, 'v2', more)
      assert.equal((await pull(`${mirror.url}/v2/mine/manifests/v2`)).status, 200)
      assert.equal(mirror.events(told).length, 1)
    }
    await using mirror = await startMirror({ upstream: hub.url, directory })
    await assertServed(mirror, irreplaceable.includes(name))
    assert.equal((await pull(`${mirror.url}/v2/mine/manifests/v2`)).status, 200)
    assert.equal(mirror.events(told).length, 0)
  })
}

for (const name of [undefined, 'holding', 'tag']) {
  test(`garbage in ${name ?? 'the header'} before it starts: it starts, and no request fails`, async () => {
    const directory = await copied(`before-${name}`)
    await damage(directory, name)
    await using mirror = await startMirror({ upstream: hub.url, directory })
    await assertServed(mirror, name !== 'tag')
    assert.equal(mirror.events(told).length, 1)
  })
}

test('a manifest whose bytes went bad is fetched once, and never again, also after the next start', async () => {
  const directory = await copied('bad-manifest')
  {
    using database = new DatabaseSync(join(directory, 'catalog.db'))
    const digest = Buffer.from(`01${image.manifest.digest.slice(7)}`, 'hex')
    const { changes } = database
      .prepare('UPDATE manifest SET bytes = CAST(replace(bytes, ?, ?) AS BLOB) WHERE digest = ?')
      .run('schemaVersion', 'schemaVersi0n', digest)
    assert.equal(changes, 1)
  }
  hub.reset()
  for (const expected of [1, 0]) {
    await using mirror = await startMirror({ upstream: hub.url, directory })
    const url = `${mirror.url}/v2/library/app/manifests/${image.manifest.digest}`
    assert.equal((await pull(url)).digest, image.manifest.digest)
    assert.equal(hub.count({ method: 'GET', status: 200, digest: image.manifest.digest }), expected)
    hub.reset()
  }
})

/** No request fails; only what is nowhere else may be lost. */
async function assertServed(mirror: TestMirror, mayBeLost: boolean): Promise<void> {
  for (const { url, isOwn } of pulls(mirror)) {
    const { status } = await pull(url)
    const expected = isOwn && mayBeLost ? [200, 404] : [200]
    assert.ok(expected.includes(status), `${status} for ${url}`)
  }
}
