// What `larder rebuild` makes of a data folder, and what it says. Thought of: a whole one; without a catalog; without a
// catalog and with blobs missing; with a damaged one; one of an older version; in use; not there; a newer one.
import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { exitCodes } from '../../src/cli/exit-codes.ts'
import { larder } from '../../src/cli/larder.ts'
import { OldCatalog } from '../storage/sqlite/old-catalog.ts'
import { pull } from '../support/client.ts'
import { buildImage } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { pushImage } from '../support/push.ts'

const image = buildImage({ layers: [1000, 2000], seed: 'rebuilt' })

async function folderWithImage(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'larder-'))
  t.after(() => rm(directory, { recursive: true }))
  await using mirror = await startMirror({ directory })
  await pushImage(`${mirror.url}/v2/mine`, 'v1', image)
  return directory
}

async function rebuild(directory: string, ...options: string[]) {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  const code = await larder({
    arguments: ['rebuild', '--data', directory, ...options],
    stdout,
    stderr,
    environment: { MIRROR_CONFIG: '', MIRROR_LOG_FORMAT: 'json' },
    workingDirectory: tmpdir(),
    stop: new AbortController().signal,
  })
  return { code, stdout: String(stdout.read() ?? ''), stderr: String(stderr.read() ?? '') }
}

async function assertServed(directory: string): Promise<void> {
  await using mirror = await startMirror({ directory })
  assert.equal((await pull(`${mirror.url}/v2/mine/manifests/v1`)).digest, image.manifest.digest)
  for (const { digest } of [image.config, ...image.layers]) {
    assert.equal((await pull(`${mirror.url}/v2/mine/blobs/${digest}`)).digest, digest)
  }
}

const pathOf = (directory: string, digest: string) =>
  join(directory, 'blobs', 'sha256', digest.slice(7, 9), digest.slice(7))

for (const [what, spoil] of Object.entries({
  whole: async () => {},
  missing: (path: string) => rm(path),
  'cut to half': (path: string) => truncate(path, 4096 * 10),
  'of an older version': async (path: string) => {
    await rm(path)
    new OldCatalog(path)[Symbol.dispose]()
  },
} satisfies Record<string, (path: string) => Promise<void>>)) {
  test(`a folder whose catalog is ${what}: all that was pushed is there, and the old one is kept`, async (t) => {
    const directory = await folderWithImage(t)
    await spoil(join(directory, 'catalog.db'))
    const { code, stdout, stderr } = await rebuild(directory, '--json')
    assert.equal(code, exitCodes.done, stderr)
    const { schema, keptAs, blobs, lost } = JSON.parse(stdout)
    assert.deepEqual([schema, lost, blobs.kept.blobs], ['larder.rebuild/v1', [], 3])
    if (what === 'missing') assert.equal(keptAs, null)
    else assert.ok((await readdir(directory)).some((name) => join(directory, name) === keptAs))
    if (what === 'whole') {
      assert.match(keptAs, /catalog\.db\.before-rebuild-/)
      assert.equal(stderr, '', 'nothing was lacking')
    }
    await assertServed(directory)
  })
}

test('bytes of a push are missing: what is lost is named, and the exit code says so', async (t) => {
  const directory = await folderWithImage(t)
  const lost = image.layers[1]?.digest ?? ''
  await rm(pathOf(directory, lost))
  const { code, stdout } = await rebuild(directory)
  assert.equal(code, exitCodes.warnings)
  assert.match(stdout, new RegExp(`^lost: mine:v1 lacks ${lost}: push it again$`, 'm'))
  assert.match(stdout, /^files that no record told of: 0; records without a file: 1$/m)
})

test('in use, or not there: refused, and nothing is changed', async (t) => {
  const directory = await folderWithImage(t)
  {
    await using mirror = await startMirror({ directory })
    const { code, stderr } = await rebuild(directory)
    assert.equal(code, exitCodes.refused)
    assert.match(stderr, new RegExp(`in use by process ${process.pid} `))
    assert.equal((await pull(`${mirror.url}/v2/mine/manifests/v1`)).status, 200)
  }
  const absent = join(directory, 'absent')
  assert.equal((await rebuild(absent)).code, exitCodes.storage)
  assert.ok(!(await readdir(directory)).includes('absent'))
})
