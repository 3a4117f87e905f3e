/**
 * Several tags in one step (distribution-spec end-7b). Thought of: by digest of both algorithms and by a tag; one, ten, as
 * many as may be, and one more; the same twice; tags that exist; one that is none among good ones, an empty one, a digest;
 * a manifest that is refused; the history of who moved them.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { pull } from '../support/client.ts'
import { buildImage } from '../support/images.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { pushImage, pushManifest } from '../support/push.ts'

const parts = new AsyncDisposableStack()
let mirror: TestMirror
const [one, two] = ['one', 'two'].map((seed) => buildImage({ seed, layers: [10] })) as [
  ReturnType<typeof buildImage>,
  ReturnType<typeof buildImage>,
]

before(async () => {
  mirror = parts.use(await startMirror({ upstream: 'http://127.0.0.1:9' }))
})
after(() => parts.disposeAsync())

async function repositoryOf(name: string): Promise<string> {
  const repository = `${mirror.url}/v2/local/${name}`
  for (const image of [one, two]) await pushImage(repository, 'before', image)
  return repository
}

async function tagsOf(repository: string): Promise<string[]> {
  return JSON.parse((await pull(`${repository}/tags/list`)).text).tags
}

function query(tags: readonly string[]): string {
  return `?${tags.map((tag) => `tag=${encodeURIComponent(tag)}`).join('&')}`
}

test('a manifest by its digest, with tags: all point at it, and are named', async () => {
  const repository = await repositoryOf('digest')
  const tags = ['1.2.3', '1.2', '1', 'latest', 'before', ...['a', 'b', 'c', 'd', 'e', 'f']]
  for (const digest of [one.manifest.digest, digestOf(one.manifest.bytes, 'sha512')]) {
    const put = await pushManifest(repository, digest + query([...tags, '1']), one.manifest)
    assert.deepEqual(
      [put.status, put.headers['oci-tag'], put.headers['docker-content-digest'], put.headers.location],
      [201, tags.join(', '), digest, `/v2/local/digest/manifests/${digest}`],
    )
    for (const tag of tags) {
      const { headers } = await pull(`${repository}/manifests/${tag}`)
      assert.equal(headers['docker-content-digest'], digest, tag)
    }
  }
  assert.deepEqual(await tagsOf(repository), tags.toSorted())
})

test('a manifest by a tag, with more of them', async () => {
  const repository = await repositoryOf('tag')
  const put = await pushManifest(repository, `v1${query(['v1', 'v2'])}`, two.manifest)
  assert.deepEqual([put.status, put.headers['oci-tag']], [201, 'v1, v2'])
  assert.deepEqual(await tagsOf(repository), ['before', 'v1', 'v2'])
  assert.equal((await pushManifest(repository, 'v3', two.manifest)).headers['oci-tag'], undefined)
})

test('a bad tag among good ones, or a manifest that is refused: none of them is set', async () => {
  const repository = await repositoryOf('bad')
  for (const bad of ['.hidden', '', 'a b', one.manifest.digest, 'x'.repeat(129), 'a,b']) {
    const { status, code } = await pushManifest(
      repository,
      one.manifest.digest + query(['good', bad]),
      one.manifest,
    )
    assert.deepEqual([status, code], [400, 'TAG_INVALID'], bad)
  }
  const lacking = buildImage({ seed: 'lacking', layers: [10] })
  const { code } = await pushManifest(repository, `good${query(['before'])}`, lacking.manifest)
  assert.equal(code, 'MANIFEST_BLOB_UNKNOWN')
  assert.deepEqual(await tagsOf(repository), ['before'])
  const { headers } = await pull(`${repository}/manifests/before`)
  assert.equal(headers['docker-content-digest'], two.manifest.digest)
})

test('a hundred tags are set at a time, and no more', async () => {
  const repository = await repositoryOf('many')
  const tags = Array.from({ length: 101 }, (_, n) => `t${n}`.padEnd(128, 'x'))
  const tooMany = await pushManifest(repository, one.manifest.digest + query(tags), one.manifest)
  assert.deepEqual([tooMany.status, tooMany.code], [414, 'UNSUPPORTED'])
  assert.match(tooMany.message ?? '', /at most 100 tags .* these are 101/)
  assert.deepEqual(await tagsOf(repository), ['before'])
  const put = await pushManifest(repository, one.manifest.digest + query(tags.slice(1)), one.manifest)
  assert.equal(put.status, 201, put.text)
  assert.equal((await tagsOf(repository)).length, 101)
})

test('who moved a tag is kept with its history', async () => {
  const repository = await repositoryOf('history')
  await pushManifest(repository, one.manifest.digest + query(['v1', 'v2']), one.manifest)
  using database = new DatabaseSync(join(mirror.directory, 'catalog.db'), { readOnly: true })
  const moves = database
    .prepare(
      `SELECT tag_move.name, mover FROM tag_move JOIN repository ON id = repository
      WHERE repository.name = 'local/history' ORDER BY moved_at, tag_move.name`,
    )
    .all()
  assert.deepEqual(
    moves.map(({ name, mover }) => `${name} by ${mover}`),
    ['before', 'before', 'v1', 'v2'].map((tag) => `${tag} by 127.0.0.1`),
  )
})
