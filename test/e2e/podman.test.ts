import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { run } from '../support/child-process.ts'
import { meets } from '../support/programs.ts'
import { startLarder } from './support/larder-process.ts'
import { type NoInternet, startNoInternet } from './support/no-internet.ts'
import { registryPrograms, startRegistry } from './support/registry-process.ts'
import { helloImage, helloIndex } from './support/sample-images.ts'
import { scratchFolder } from './support/scratch-folder.ts'

const required = { programs: [...registryPrograms, 'podman', 'busybox'], root: true } as const

test('podman pulls through the mirror', { timeout: 120_000 }, async (t) => {
  if (!meets(t, required)) return
  await using registry = await startRegistry({ auth: 'token' })
  const hello = helloImage()
  const index = helloIndex()
  await registry.push('library/hello-larder', 'latest', hello)
  await registry.push('team/hello-index', 'v1', index)
  await using larder = await startLarder({ upstreams: [{ name: 'docker.io', url: registry.url }] })
  await using internet = await startNoInternet()

  await t.test('by the address of the mirror in the name', async () => {
    await using podman = await podmanStore(internet)
    const name = `${larder.host}/library/hello-larder`
    await podman.run('pull', '--tls-verify=false', name)
    assert.equal(await podman.digest(name), hello.manifest.digest)
  })

  const locations = [
    { location: larder.host, what: 'its root' },
    { location: `${larder.host}/docker.io`, what: 'the upstream named in its path' },
  ]
  for (const { location, what } of locations) {
    await t.test(`by registries.conf, with ${what} as mirror of docker.io`, async () => {
      await using podman = await podmanStore(internet, location)
      await podman.run('pull', 'docker.io/hello-larder')
      assert.equal(await podman.digest('docker.io/library/hello-larder'), hello.manifest.digest)
      await podman.run('pull', 'docker.io/team/hello-index:v1')
      const digests = await podman.run(
        'image',
        'inspect',
        '--format',
        '{{.RepoDigests}}',
        'team/hello-index:v1',
      )
      assert.match(digests, new RegExp(`@${index.manifest.digest}`))
    })
  }

  await t.test('the upstream is gone: it pulls once more', async () => {
    await registry.stop()
    await using podman = await podmanStore(internet, larder.host)
    await podman.run('pull', 'docker.io/hello-larder')
  })
  assert.deepEqual(internet.attempts, [])
})

type PodmanStore = AsyncDisposable & {
  run(...parameters: string[]): Promise<string>
  /** The digest of the manifest that an image came from. */
  digest(name: string): Promise<string>
}

/** An empty store; `mirror`, where given, is the mirror of docker.io. */
async function podmanStore(internet: NoInternet, mirror?: string): Promise<PodmanStore> {
  await using building = new AsyncDisposableStack()
  const { path: folder } = building.use(await scratchFolder())
  const registries = join(folder, 'registries.conf')
  await writeFile(registries, mirror === undefined ? '' : registriesConf(mirror))
  const state = [
    '--root',
    join(folder, 'root'),
    '--runroot',
    join(folder, 'run'),
    '--tmpdir',
    join(folder, 'tmp'),
  ]
  const environment = {
    HOME: folder,
    XDG_RUNTIME_DIR: folder,
    CONTAINERS_REGISTRIES_CONF: registries,
    ...internet.environment,
  }
  const podman = (...parameters: string[]) =>
    run('podman', [...state, '--storage-driver=vfs', ...parameters], { environment })
  const parts = building.move()
  return {
    run: podman,
    digest: async (name) => (await podman('image', 'inspect', '--format', '{{.Digest}}', name)).trim(),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  }
}

function registriesConf(mirror: string): string {
  return `
    [[registry]]
    prefix = "docker.io"
    location = "docker.io"
    [[registry.mirror]]
    location = "${mirror}"
    insecure = true
  `
}
