// `larder verify`. Thought of: whole; each damage; pushed and mirrored; records without files and files without records;
// a part of the blobs; beside a running mirror, alone, and repairing beside one; a catalog that is damaged or not there, a
// folder that is not; interrupted; wrong shares.
import assert from 'node:assert/strict'
import { chmod, chown, open, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { larder } from '../../src/cli/larder.ts'
import { type Digest, digestHex } from '../../src/oci/digest.ts'
import { filesBelow, storageFolder } from '../storage/files/storage-folder.ts'
import { finish } from '../support/child-process.ts'
import { pull } from '../support/client.ts'
import { collected } from '../support/collected.ts'
import { type DockerHub, startDockerHub } from '../support/docker-hub.ts'
import { buildImage, type TestImage } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { pushImage } from '../support/push.ts'

const main = fileURLToPath(import.meta.resolve('../../src/main.ts'))

async function run(
  folder: string,
  options: readonly string[] = [],
  { hub, stop }: { hub?: DockerHub; stop?: AbortSignal } = {},
) {
  const [out, error] = [collected(), collected()]
  const code = await larder({
    arguments: ['verify', '--data', folder, ...options],
    stdout: out.stream,
    stderr: error.stream,
    environment: hub
      ? { MIRROR_UPSTREAMS: JSON.stringify([{ name: 'docker.io', url: hub.url }]), MIRROR_LOG_LEVEL: 'error' }
      : {},
    workingDirectory: folder,
    stop: stop ?? new AbortController().signal,
  })
  return { code, out: out.text(), error: error.text() }
}

/** A folder with a pushed image of two layers, and the config and layer of a mirrored one. */
async function filled(
  t: TestContext,
): Promise<{ folder: string; hub: DockerHub; pushed: TestImage; mirrored: TestImage }> {
  const folder = await storageFolder(t)
  const hub = await startDockerHub()
  t.after(() => hub[Symbol.asyncDispose]())
  const pushed = buildImage({ layers: [100_000, 3000], seed: 'pushed' })
  const mirrored = buildImage({ layers: [200_000], seed: 'mirrored' })
  hub.addImage('library/app', 'v1', mirrored)
  await using mirror = await startMirror({ upstream: hub.url, directory: folder })
  await pushImage(`${mirror.url}/v2/local/app`, 'v1', pushed)
  for (const { digest } of [mirrored.config, ...mirrored.layers]) {
    assert.equal((await pull(`${mirror.url}/v2/library/app/blobs/${digest}`)).digest, digest)
  }
  return { folder, hub, pushed, mirrored }
}

function pathOf(folder: string, digest: Digest): string {
  return join(folder, 'blobs/sha256', digestHex(digest).slice(0, 2), digestHex(digest))
}

async function flip(path: string): Promise<void> {
  await using file = await open(path, 'r+')
  await file.write(
    Buffer.from([0xff ^ ((await file.read(Buffer.alloc(1), 0, 1, 0)).buffer[0] ?? 0)]),
    0,
    1,
    0,
  )
}

test('what is whole exits with 0, and nothing is changed by it', async (t) => {
  const { folder } = await filled(t)
  const before = await filesBelow(join(folder, 'blobs'))
  const { code, out } = await run(folder)
  assert.match(out, /: 5 blobs, 5 of them read whole \(.*\)\nnothing is damaged\n$/)
  assert.equal(code, 0)
  assert.deepEqual(await filesBelow(join(folder, 'blobs')), before)
})

test('each damage is found, named with those who pushed it, and left as it is: 12', async (t) => {
  const { folder, pushed, mirrored } = await filled(t)
  const [one, two] = pushed.layers
  const layer = mirrored.layers[0]
  assert.ok(one && two && layer)
  await flip(pathOf(folder, one.digest))
  await rm(pathOf(folder, two.digest))
  await truncate(pathOf(folder, layer.digest), 5)
  const { code, out } = await run(folder, ['--json'])
  const document = JSON.parse(out)
  assert.equal(document.schema, 'larder.verify/v1')
  assert.deepEqual(
    new Set(
      document.damaged.map(({ digest, found, repositories, isRepaired }: Record<string, unknown>) =>
        [digest, found, repositories, isRepaired].join(),
      ),
    ),
    new Set([
      `${one.digest},wrong,local/app,false`,
      `${two.digest},missing,local/app,false`,
      `${layer.digest},wrong,,false`,
    ]),
  )
  assert.deepEqual([document.blobs, document.read, document.sample], [5, 3, null])
  assert.equal(code, 12)
  assert.equal((await stat(pathOf(folder, layer.digest))).size, 5)
  assert.match((await run(folder)).out, /wrong, pushed to local\/app: push it again\n/)
})

test('repaired: what an upstream has is whole again, what was only pushed is set aside and told: 12, then 0', async (t) => {
  const { folder, hub, pushed, mirrored } = await filled(t)
  const own = pushed.layers[0]
  assert.ok(own)
  for (const { digest } of [mirrored.config, ...mirrored.layers]) await flip(pathOf(folder, digest))
  const mended = await run(folder, ['--repair'], { hub })
  assert.match(mended.out, /2 damaged, 2 of them whole again\n$/)
  assert.equal(mended.code, 0)
  assert.equal((await run(folder)).code, 0)
  await flip(pathOf(folder, own.digest))
  const lost = await run(folder, ['--repair', '--json'], { hub })
  assert.equal(lost.code, 12)
  assert.deepEqual(JSON.parse(lost.out).damaged, [
    { digest: own.digest, found: 'wrong', repositories: ['local/app'], isRepaired: false },
  ])
  assert.match(lost.error, /are lost: push it again/)
  assert.deepEqual(await readdir(join(folder, 'quarantine')), [`sha256-${digestHex(own.digest)}`])
})

for (const when of ['after a pull has found it', 'after its record was dropped'] as const) {
  test(`what was pushed and has lost its bytes is missing ${when}, until it is whole: 12`, async (t) => {
    const { folder, hub, pushed } = await filled(t)
    const own = pushed.layers[0]
    assert.ok(own)
    const path = pathOf(folder, own.digest)
    if (when === 'after its record was dropped') await rm(path)
    else await truncate(path, 3)
    {
      await using mirror = await startMirror({ upstream: hub.url, directory: folder })
      assert.equal((await pull(`${mirror.url}/v2/local/app/blobs/${own.digest}`)).status, 404)
      assert.equal((await run(folder)).code, 12, 'beside the mirror')
    }
    const lost = { digest: own.digest, found: 'missing', repositories: ['local/app'], isRepaired: false }
    for (const options of [[], ['--repair'], []]) {
      const { code, out } = await run(folder, ['--json', ...options], { hub })
      assert.deepEqual([code, JSON.parse(out).damaged], [12, [lost]])
    }
    if (when === 'after a pull has found it')
      assert.match((await run(folder)).out, /^1 damaged file is set aside in .*quarantine \(3 B\)$/m)
    await using mirror = await startMirror({ upstream: hub.url, directory: folder })
    await pushImage(`${mirror.url}/v2/local/app`, 'v1', pushed)
    assert.equal((await run(folder)).code, 0)
  })
}

test('a repair tells of a pushed file that was removed while nobody looked: 12', async (t) => {
  const { folder, hub, pushed, mirrored } = await filled(t)
  await rm(pathOf(folder, pushed.config.digest))
  await flip(pathOf(folder, mirrored.config.digest))
  const { code, out } = await run(folder, ['--repair'], { hub })
  assert.match(out, /missing, pushed to local\/app: push it again\n/)
  assert.match(out, /2 damaged, 1 of them whole again\n$/)
  assert.equal(code, 12)
})

test('a mirrored blob that is not there is forgotten by a repair, and no trouble after that', async (t) => {
  const { folder, hub, mirrored } = await filled(t)
  await rm(pathOf(folder, mirrored.config.digest))
  assert.equal((await run(folder)).code, 12)
  assert.equal((await run(folder, ['--repair'], { hub })).code, 0)
  assert.match((await run(folder)).out, /: 4 blobs, .*\nnothing is damaged/)
})

test('beside a running mirror it verifies, and repairs nothing: 11, with who has the folder', async (t) => {
  const { folder, hub, mirrored } = await filled(t)
  await using _mirror = await startMirror({ upstream: hub.url, directory: folder })
  assert.equal((await run(folder)).code, 0)
  await flip(pathOf(folder, mirrored.config.digest))
  assert.equal((await run(folder)).code, 12)
  const refused = await run(folder, ['--repair'], { hub })
  assert.equal(refused.code, 11)
  assert.match(refused.error, new RegExp(`in use by process ${process.pid} on .*: stop that one first`))
  assert.equal(refused.out, '')
})

test('a catalog that the mirror has to itself is no damage: blobs are compared with their digests', async (t) => {
  const { folder, mirrored } = await filled(t)
  using database = new DatabaseSync(join(folder, 'catalog.db'))
  database.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE')
  const whole = await run(folder)
  assert.deepEqual([whole.code, whole.error], [0, ''])
  assert.match(whole.out, /has its catalog to itself .*\n.*: 5 blobs, .*\nnothing is damaged\n$/)
  await flip(pathOf(folder, mirrored.config.digest))
  const damaged = await run(folder)
  assert.equal(damaged.code, 12)
  assert.match(damaged.out, /1 damaged/)
})

test('a sample reads a part, the same for the same seed, and looks at the sizes of all', async (t) => {
  const { folder, pushed } = await filled(t)
  const read = async (...options: string[]) => JSON.parse((await run(folder, ['--json', ...options])).out)
  const counts = new Set<number>()
  for (const seed of ['a', 'b', 'c', 'd', 'e', 'f']) {
    const { blobs, read: some, sample } = await read('--sample', '40%', '--seed', seed)
    assert.deepEqual([blobs, sample], [5, { share: 0.4, seed }])
    assert.deepEqual((await read('--sample', '40%', '--seed', seed)).read, some)
    counts.add(some)
  }
  assert.ok(counts.size > 1, 'seeds choose differently')
  await truncate(pathOf(folder, pushed.config.digest), 1)
  assert.equal((await read('--sample', '0.0001%')).damaged.length, 1)
})

test('without a catalog, and with one that cannot be read, files are compared with their digests', async (t) => {
  const { folder, mirrored } = await filled(t)
  await flip(pathOf(folder, mirrored.config.digest))
  for (const name of await readdir(folder)) if (name.startsWith('catalog.db')) await rm(join(folder, name))
  assert.match((await run(folder)).out, /: 5 blobs, 5 .*\n1 damaged/)
  await writeFile(join(folder, 'catalog.db'), 'no database'.repeat(1000))
  const unreadable = await run(folder)
  assert.match(unreadable.out, /^the catalog could not be read: .*\n.*wrong\n.*: 5 blobs, 5 /)
  assert.equal(unreadable.code, 12)
})

test('a folder that is not there is told, an interruption as well, and no share is a usage error', async (t) => {
  const { folder } = await filled(t)
  assert.equal((await run(join(folder, 'none'))).code, 8)
  const stopped = await run(folder, [], { stop: AbortSignal.abort() })
  assert.deepEqual([stopped.code, stopped.out], [130, ''])
  for (const share of ['5', '0%', '101%', 'x%']) {
    const { code, error } = await run(folder, ['--sample', share])
    assert.equal(code, 2, share)
    assert.match(error, /such as 5%/)
  }
})

test('a file in the place of a folder of blobs: what was there is missing, and all others are compared', async (t) => {
  const { folder, pushed, mirrored } = await filled(t)
  const [layer] = mirrored.layers
  assert.ok(layer)
  const place = dirname(pathOf(folder, pushed.config.digest))
  await flip(pathOf(folder, layer.digest))
  await rm(place, { recursive: true })
  await writeFile(place, '')
  const { code, out } = await run(folder)
  assert.match(out, new RegExp(`${pushed.config.digest}  missing, pushed to local/app: push it again`))
  assert.match(out, new RegExp(`${layer.digest}  wrong`))
  assert.equal(code, 12)
})

test('a folder of blobs that may not be read is told, with what is recorded of it; a rebuild is refused', async (t) => {
  if (process.getuid?.() !== 0) return t.skip('the rights of another user take root')
  const { folder, pushed, mirrored } = await filled(t)
  const [layer] = mirrored.layers
  assert.ok(layer)
  await flip(pathOf(folder, layer.digest))
  for (const path of [
    folder,
    ...(await readdir(folder, { recursive: true })).map((name) => join(folder, name)),
  ]) {
    await chown(path, 65_534, 65_534)
  }
  const place = dirname(pathOf(folder, pushed.config.digest))
  await chown(place, 0, 0)
  await chmod(place, 0o700)
  process.seteuid?.(65_534)
  try {
    const { code, out } = await run(folder)
    assert.match(out, new RegExp(`^${place} could not be read`))
    assert.match(out, new RegExp(`${pushed.config.digest}  unreadable, pushed to local/app`))
    assert.match(out, new RegExp(`${layer.digest}  wrong`))
    assert.equal(code, 12)
  } finally {
    process.seteuid?.(0)
  }
  const by = [['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']] as const
  const { code, stderr } = await finish('node', [main, 'rebuild', '--data', folder], {
    by,
    workingDirectory: folder,
  })
  assert.equal(code, 8, stderr)
  assert.ok(stderr.includes(place), stderr)
})
