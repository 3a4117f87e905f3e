import assert from 'node:assert/strict'
import { cp, mkdir, readFile, symlink } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { finish, run } from '../support/child-process.ts'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { pseudoRandomBytes } from '../support/images.ts'
import { meets } from '../support/programs.ts'
import { startLarder } from './support/larder-process.ts'
import { scratchFolder } from './support/scratch-folder.ts'

const project = resolve(import.meta.dirname, '../..')
/** What `npm pack` and the build read. */
const sources = [
  ...['package.json', 'tsconfig.json', 'tsconfig.build.json', 'tools', 'src'],
  ...['mirror.yml', 'mirror.schema.json'],
]

test('the package: built, packed and unpacked, it has all that it needs and serves', {
  timeout: 120_000,
}, async (t) => {
  if (!meets(t, { programs: ['npm', 'tar'] })) return
  await using scratch = await scratchFolder()
  const folder = await buildCopy(scratch.path)
  const environment = { HOME: scratch.path }
  const npm = { environment, workingDirectory: folder }
  const [packed] = JSON.parse(await run('npm', ['pack', '--json'], npm)) as PackedPackage[]
  assert.ok(packed)

  await t.test('it lists the program and the default configuration, and no sources', () => {
    const paths = packed.files.map(({ path }) => path)
    const expected = [
      'dist/main.js',
      'dist/storage/files/file-hasher.js',
      'dist/storage/files/prefix-hasher.js',
      'dist/storage/sqlite/catalog-writer.js',
      'mirror.yml',
      'mirror.schema.json',
    ]
    assert.deepEqual(
      expected.filter((path) => !paths.includes(path)),
      [],
    )
    const allowed =
      /^(?:dist\/.*\.js(?:\.map)?|mirror\.yml|mirror\.schema\.json|package\.json|README\.md|LICENSE)$/
    assert.deepEqual(
      paths.filter((path) => !allowed.test(path)),
      [],
    )
  })

  await run('tar', ['--extract', '--file', join(folder, packed.filename), '--directory', scratch.path])
  const unpacked = join(scratch.path, 'package')
  await linkDependencies(unpacked)
  const entry = join(unpacked, 'dist', 'main.js')

  await t.test('its command runs by its own name, and knows its version', async () => {
    const { version, bin } = JSON.parse(await readFile(join(unpacked, 'package.json'), 'utf8'))
    assert.equal(resolve(unpacked, bin.larder), entry)
    const told = await finish('node', [entry, 'version'], { environment })
    assert.deepEqual(told, { code: 0, stdout: `${version}\n`, stderr: '' })
    assert.match(await readFile(entry, 'utf8'), /^#!\/usr\/bin\/env -S MALLOC_ARENA_MAX=1 node\n/)
  })

  await t.test('it serves /v2/, and a blob that it fetches', async () => {
    await using hub = await startDockerHub()
    const blob = hub.addBlob('library/app', pseudoRandomBytes(3_000_000, 'package'))
    await using mirror = await startLarder({ entry, upstreams: [{ name: 'docker.io', url: hub.url }] })
    assert.equal((await pull(`${mirror.url}/v2/`)).text, '{}')
    for (const status of ['miss', 'hit']) {
      const { digest, headers } = await pull(`${mirror.url}/v2/library/app/blobs/${blob.digest}`)
      assert.deepEqual([digest, headers['x-larder-cache']], [blob.digest, status])
      await mirror.settled()
    }
  })
})

type PackedPackage = { readonly filename: string; readonly files: readonly { readonly path: string }[] }

/** Gives a package what it declares as its dependencies, and nothing else of the project. */
async function linkDependencies(folder: string): Promise<void> {
  const { dependencies } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))
  await mkdir(join(folder, 'node_modules'))
  for (const name of Object.keys(dependencies)) {
    await symlink(join(project, 'node_modules', name), join(folder, 'node_modules', name))
  }
}

/** Builds a copy, so that neither the test nor what lies in the project's own dist/ disturbs the other. */
async function buildCopy(parent: string): Promise<string> {
  const folder = join(parent, 'source')
  await mkdir(folder)
  for (const name of sources) {
    await cp(join(project, name), join(folder, name), { recursive: true, force: true })
  }
  await symlink(join(project, 'node_modules'), join(folder, 'node_modules'))
  await run('npm', ['run', 'build'], { environment: { HOME: parent }, workingDirectory: folder })
  return folder
}
