import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { ChildServer, finish, run } from '../support/child-process.ts'
import { meets } from '../support/programs.ts'
import { startLarder } from './support/larder-process.ts'
import { type NoInternet, startNoInternet } from './support/no-internet.ts'
import { registryPrograms, startRegistry } from './support/registry-process.ts'
import { greeting, helloImage, helloIndex, largeImage } from './support/sample-images.ts'
import { scratchFolder } from './support/scratch-folder.ts'

const required = {
  programs: [...registryPrograms, 'containerd', 'ctr', 'runc', 'busybox'],
  root: true,
} as const

test('containerd pulls from two registries through one mirror', { timeout: 120_000 }, async (t) => {
  if (!meets(t, required)) return
  await using hub = await startRegistry({ auth: 'token' })
  await using quay = await startRegistry({ auth: 'none' })
  const hello = helloImage()
  const index = helloIndex()
  const { image: large } = largeImage()
  await hub.push('library/hello-larder', 'latest', hello)
  await quay.push('team/hello-index', 'v1', index)
  // The same name as at Docker Hub, with other content: whoever mixes up the two is found out.
  await quay.push('library/hello-larder', 'latest', large)
  const upstreams = [
    { name: 'docker.io', url: hub.url },
    { name: 'quay.example', url: quay.url },
  ]
  await using larder = await startLarder({ upstreams })
  await using internet = await startNoInternet()
  await using containerd = await startContainerd(internet, larder.url)

  await t.test('docker.io: `ns` names it, and the image runs', async () => {
    const name = 'docker.io/library/hello-larder:latest'
    await containerd.pull(name)
    assert.equal(await containerd.digest(name), hello.manifest.digest)
    const seen = larder.requests().filter(({ url }) => url.includes('/v2/library/hello-larder/'))
    assert.ok(seen.length >= 4)
    for (const { url, status } of seen) assert.deepEqual([url.split('?')[1], status], ['ns=docker.io', 200])
    assert.equal(await containerd.ctr('run', '--rm', name, 'hello'), `${greeting}\n`)
  })

  await t.test('another registry: `ns` routes to it, also where both have the name', async () => {
    await containerd.pull('quay.example/team/hello-index:v1')
    assert.equal(await containerd.digest('quay.example/team/hello-index:v1'), index.manifest.digest)
    await containerd.pull('quay.example/library/hello-larder:latest')
    assert.equal(await containerd.digest('quay.example/library/hello-larder:latest'), large.manifest.digest)
    const routed = larder.requests().filter(({ url }) => url.includes('ns=quay.example'))
    assert.ok(routed.length >= 8)
  })

  await t.test('the first part of the path routes as well', async () => {
    const answer = await fetch(`${larder.url}/v2/quay.example/team/hello-index/manifests/v1`)
    assert.equal(answer.headers.get('docker-content-digest'), index.manifest.digest)
    const name = `${larder.host}/quay.example/library/hello-larder:latest`
    await containerd.ctr('images', 'pull', '--plain-http', name)
    assert.equal(await containerd.digest(name), large.manifest.digest)
  })

  await t.test('a registry that is not configured is refused, and told so', async () => {
    const answer = await fetch(`${larder.url}/v2/team/app/manifests/v1?ns=elsewhere.example`)
    assert.equal(answer.status, 404)
    assert.match(await answer.text(), /elsewhere\.example.*docker\.io, quay\.example/)
  })

  await t.test('both are gone: what is cached is pulled again', async () => {
    await Promise.all([hub.stop(), quay.stop()])
    await using fresh = await startContainerd(internet, larder.url)
    await fresh.pull('docker.io/library/hello-larder:latest')
    await fresh.pull('quay.example/team/hello-index:v1')
    assert.equal(await fresh.digest('quay.example/team/hello-index:v1'), index.manifest.digest)
  })
  assert.deepEqual(internet.attempts, [])
})

type Containerd = AsyncDisposable & {
  ctr(...parameters: string[]): Promise<string>
  /** Pulls by the hosts.toml that names the mirror for every registry. */
  pull(name: string): Promise<string>
  /** The digest that an image was pulled by. */
  digest(name: string): Promise<string | undefined>
}

async function startContainerd(internet: NoInternet, mirror: string): Promise<Containerd> {
  await using building = new AsyncDisposableStack()
  const { path: folder } = building.use(await scratchFolder())
  const hosts = join(folder, 'hosts')
  for (const registry of ['docker.io', 'quay.example']) {
    await mkdir(join(hosts, registry), { recursive: true })
    await writeFile(join(hosts, registry, 'hosts.toml'), hostsToml(registry, mirror))
  }
  const config = join(folder, 'config.toml')
  await writeFile(config, 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
  const socket = join(folder, 'c.sock')
  const environment = { HOME: folder, ...internet.environment }
  const state = ['--root', join(folder, 'root'), '--state', join(folder, 'state'), '--address', socket]
  const server = building.use(
    ChildServer.start('containerd', ['--config', config, ...state], { environment }),
  )
  const options = { environment }
  const isUp = async () => (await finish('ctr', ['--address', socket, 'version'], options)).code === 0
  await server.ready(isUp, 'answers')
  const ctr = (...parameters: string[]) => run('ctr', ['--address', socket, ...parameters], options)
  const parts = building.move()
  return {
    ctr,
    pull: (name) => ctr('images', 'pull', '--hosts-dir', hosts, name),
    async digest(name) {
      const [line = ''] = (await ctr('images', 'list', `name==${name}`)).split('\n').slice(1)
      return /sha256:[0-9a-f]{64}/.exec(line)?.[0]
    },
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  }
}

function hostsToml(registry: string, mirror: string): string {
  return `
    server = "https://${registry}"
    [host."${mirror}"]
    capabilities = ["pull", "resolve"]
  `
}
