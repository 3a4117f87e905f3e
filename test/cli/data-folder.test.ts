// What the start and the log say of the data folder. Thought of: no catalog over blobs, and over none; a catalog of the
// last version; catalog and folder of a newer version; the catalog removed under a running mirror.
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { PassThrough } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { exitCodes } from '../../src/cli/exit-codes.ts'
import { tellFailure } from '../../src/cli/failure.ts'
import { OldCatalog } from '../storage/sqlite/old-catalog.ts'
import { pull } from '../support/client.ts'
import { buildImage, type TestImage } from '../support/images.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { pushImage } from '../support/push.ts'
import { until } from '../support/settle.ts'

const image = buildImage({ layers: [1000], seed: 'own' })

async function dataFolder(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'larder-'))
  t.after(() => rm(directory, { recursive: true }))
  return directory
}

async function removeCatalog(directory: string): Promise<void> {
  for (const ending of ['', '-wal', '-shm']) await rm(join(directory, `catalog.db${ending}`), { force: true })
}

/** Every byte of it. */
async function assertPulled(repository: string, reference: string, { manifest, config, layers }: TestImage) {
  assert.equal((await pull(`${repository}/manifests/${reference}`)).digest, manifest.digest)
  for (const { digest } of [config, ...layers]) {
    assert.equal((await pull(`${repository}/blobs/${digest}`)).digest, digest)
  }
}

function starting(mirror: TestMirror, words: string) {
  return mirror.events().filter(({ msg }) => String(msg).startsWith(words))
}

test('blobs without a catalog: a warning says how much is there, and what was pushed is all there', async (t) => {
  const directory = await dataFolder(t)
  {
    await using mirror = await startMirror({ directory })
    await pushImage(`${mirror.url}/v2/mine`, 'v1', image)
    assert.deepEqual(starting(mirror, 'there is no catalog'), [])
  }
  await removeCatalog(directory)
  for (const expected of [1, 0]) {
    await using mirror = await startMirror({ directory })
    await until(async () => (await mirror.metric('larder_cache_blobs')) === 2)
    await until(() => starting(mirror, 'there is no catalog').length === expected)
    const lines = starting(mirror, 'the catalog lacked what was pushed here: it has it')
    assert.deepEqual(
      lines.map(({ level, changes }) => [level, changes]),
      expected ? [['warn', 1]] : [],
    )
    await assertPulled(`${mirror.url}/v2/mine`, 'v1', image)
    if (expected === 0) continue
    const [warning] = starting(mirror, 'there is no catalog')
    assert.equal(warning?.level, 'warn')
    assert.equal(warning?.blobs, 2)
    assert.match(String(warning?.msg), /known as far as pushed.journal has it.*put it back/)
  }
})

test('blobs without a catalog, and without its journal: what was pushed is not known any more', async (t) => {
  const directory = await dataFolder(t)
  {
    await using mirror = await startMirror({ directory })
    await pushImage(`${mirror.url}/v2/mine`, 'v1', image)
  }
  await removeCatalog(directory)
  await rm(join(directory, 'pushed.journal'))
  await using mirror = await startMirror({ directory })
  assert.deepEqual(starting(mirror, 'the catalog lacked'), [])
  await until(() => starting(mirror, 'there is neither a catalog nor').length === 1)
  const [line] = starting(mirror, 'there is neither a catalog nor')
  assert.deepEqual([line?.level, line?.blobs], ['error', 2])
  assert.deepEqual(starting(mirror, 'there is no catalog'), [])
  assert.notEqual((await pull(`${mirror.url}/v2/mine/manifests/v1`)).status, 200)
})

test('a catalog of the last version: one line says that it was brought over', async (t) => {
  const directory = await dataFolder(t)
  new OldCatalog(join(directory, 'catalog.db'))[Symbol.dispose]()
  for (const expected of [1, 0]) {
    await using mirror = await startMirror({ directory })
    const lines = starting(mirror, 'the catalog was brought')
    assert.equal(lines.length, expected)
    if (expected) assert.deepEqual([lines[0]?.fromSchema, typeof lines[0]?.ms], [3, 'number'])
  }
})

test('the folder of a newer version: refused as a folder that cannot be used, with what to do', async (t) => {
  for (const damage of ['catalog', 'layout']) {
    const directory = await dataFolder(t)
    if (damage === 'layout') await writeFile(join(directory, 'VERSION'), '99\n')
    else {
      using database = new DatabaseSync(join(directory, 'catalog.db'))
      database.exec('PRAGMA user_version = 99')
    }
    const error = await startMirror({ directory }).then(
      () => assert.fail('it starts'),
      (error: unknown) => error,
    )
    const stderr = new PassThrough()
    const code = await tellFailure(error, {
      arguments: [],
      stdout: stderr,
      stderr,
      environment: {},
      workingDirectory: directory,
      stop: new AbortController().signal,
    })
    const text = String(stderr.read())
    assert.equal(code, exitCodes.storage, text)
    assert.match(text, /knows \d+: start the newer program/)
    assert.match(text, /no way back.*the copy of the folder/)
  }
})

test('catalog.db removed while it runs: told, and all that was acknowledged is there after the next start', async (t) => {
  const directory = await dataFolder(t)
  {
    await using mirror = await startMirror({ directory })
    await pushImage(`${mirror.url}/v2/mine`, 'v1', image)
    await rm(join(directory, 'catalog.db'))
    await pushImage(`${mirror.url}/v2/mine`, 'v2', image)
    const [line] = starting(mirror, 'catalog.db was removed or replaced')
    assert.equal(line?.level, 'error')
  }
  await using mirror = await startMirror({ directory })
  for (const tag of ['v1', 'v2']) {
    assert.equal((await pull(`${mirror.url}/v2/mine/manifests/${tag}`)).status, 200)
  }
})
