import assert from 'node:assert/strict'
import { test } from 'node:test'
import { meets } from '../support/programs.ts'
import { fileOfPage } from './support/clients-page.ts'
import { containerdPrograms, startContainerd } from './support/containerd.ts'
import { startLarder } from './support/larder-process.ts'
import { startNoInternet } from './support/no-internet.ts'
import { onePull } from './support/one-pull.ts'
import { registryPrograms, startRegistry } from './support/registry-process.ts'
import { greeting, helloImage, helloIndex, largeImage } from './support/sample-images.ts'

const required = {
  programs: [...registryPrograms, ...containerdPrograms, 'busybox'],
  root: true,
} as const

const hostsToml = '/etc/containerd/certs.d/docker.io/hosts.toml'

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
  const files = filesOfPage(larder.host)
  await using containerd = await startContainerd({ files, internet })

  await t.test('docker.io: `ns` names it, and the image runs', async () => {
    const name = 'docker.io/library/hello-larder:latest'
    await containerd.pull(name)
    assert.equal(await containerd.digest(name), hello.manifest.digest)
    const seen = larder.requests().filter(({ url }) => url.includes('/v2/library/hello-larder/'))
    assert.ok(seen.length >= 4)
    for (const { url, status } of seen) assert.deepEqual([url.split('?')[1], status], ['ns=docker.io', 200])
    assert.equal(await containerd.run(name), `${greeting}\n`)
  })

  await t.test('the log has one line that says that this machine pulled that image', async () => {
    const pulled = await onePull(larder, 'library/hello-larder', hello.manifest.digest)
    assert.match(pulled.agent, /^containerd\//)
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

  await t.test(
    'the upstream named twice, by path and by `ns`, as k3s does where the endpoint has a path',
    async () => {
      const k3s = { ...files, ...fileOfPage(hostsToml, larder.host, 'k3s') }
      await using twice = await startContainerd({ files: k3s, internet })
      await twice.pull('docker.io/library/hello-larder:latest')
      assert.equal(await twice.digest('docker.io/library/hello-larder:latest'), hello.manifest.digest)
      const asked = larder.requests().filter(({ url }) => url.startsWith('/v2/docker.io/library/'))
      assert.ok(asked.length > 0 && asked.every(({ url }) => url.endsWith('?ns=docker.io')))
    },
  )

  await t.test('a registry that is not configured is refused, and told so', async () => {
    const answer = await fetch(`${larder.url}/v2/team/app/manifests/v1?ns=elsewhere.example`)
    assert.equal(answer.status, 404)
    assert.match(await answer.text(), /elsewhere\.example.*docker\.io, quay\.example/)
  })

  await t.test('both are gone: what is cached is pulled again', async () => {
    await Promise.all([hub.stop(), quay.stop()])
    await using fresh = await startContainerd({ files, internet })
    await fresh.pull('docker.io/library/hello-larder:latest')
    await fresh.pull('quay.example/team/hello-index:v1')
    assert.equal(await fresh.digest('quay.example/team/hello-index:v1'), index.manifest.digest)
  })
  assert.deepEqual(internet.attempts, [])
})

/** What the page tells to write for docker.io, and the same for another registry. */
function filesOfPage(mirror: string): Readonly<Record<string, string>> {
  const files = fileOfPage(hostsToml, mirror, 'containerd-2.1')
  const others = Object.entries(files).map(([path, content]) => [
    path.replace('docker.io', 'quay.example'),
    content.replace('registry-1.docker.io', 'quay.example'),
  ])
  const config = fileOfPage('/etc/containerd/config.toml', mirror, 'containerd-1')
  return { ...files, ...Object.fromEntries(others), ...config }
}
