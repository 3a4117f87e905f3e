import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { meets } from '../support/programs.ts'
import { fileOfPage } from './support/clients-page.ts'
import { type DockerDaemon, dockerPrograms, startDockerDaemon } from './support/docker-daemon.ts'
import { type LarderProcess, startLarder } from './support/larder-process.ts'
import { onePull } from './support/one-pull.ts'
import { registryPrograms, startRegistry } from './support/registry-process.ts'
import { greeting, helloImage, helloIndex, largeImage } from './support/sample-images.ts'

const required = { programs: [...dockerPrograms, ...registryPrograms, 'busybox'], root: true } as const

test('docker pulls and runs through registry-mirrors', { timeout: 120_000 }, async (t) => {
  if (!meets(t, required)) return
  await using registry = await startRegistry({ auth: 'token' })
  const hello = helloImage()
  const large = largeImage()
  const index = helloIndex()
  await registry.push('library/hello-larder', 'latest', hello)
  await registry.push('library/large-larder', 'v1', large.image)
  await registry.push('team/hello-index', 'latest', index)
  await using larder = await startLarder({ upstreams: [{ name: 'docker.io', url: registry.url }] })
  await using daemon = await startDockerDaemon({
    files: fileOfPage('/etc/docker/daemon.json', larder.host),
  })

  await t.test('the first pull comes through the mirror, with the digest that was pushed', async () => {
    const printed = await daemon.docker('pull', 'hello-larder')
    assert.equal(digestIn(printed), hello.manifest.digest)
    assert.equal(await daemon.docker(...runIsolated, 'hello-larder'), `${greeting}\n`)
    assert.deepEqual(daemon.attempts, [])
  })

  await t.test('the log has one line that says that this machine pulled that image', async () => {
    const pulled = await onePull(larder, 'library/hello-larder', hello.manifest.digest)
    assert.match(pulled.agent, /^docker\//)
    const blobs = [hello.config, ...hello.layers].reduce((sum, { size }) => sum + size, 0)
    assert.equal(pulled.bytes, hello.manifest.size + blobs)
  })

  await t.test('an image of several layers, and an index of several platforms', async () => {
    const printed = await daemon.docker('pull', 'large-larder:v1')
    assert.equal(digestIn(printed), large.image.manifest.digest)
    assert.match(await daemon.docker(...runIsolated, 'large-larder:v1'), new RegExp(large.largeFileHash))
    assert.equal(digestIn(await daemon.docker('pull', 'team/hello-index')), index.manifest.digest)
    assert.equal(await daemon.docker(...runIsolated, 'team/hello-index'), `${greeting}\n`)
    assert.deepEqual(daemon.attempts, [])
  })

  await t.test('the second pull asks the upstream for nothing', async () => {
    await larder.settled()
    const before = registry.contentRequests
    const seen = larder.requests().length
    await daemon.docker('rmi', '--force', 'hello-larder', 'large-larder:v1', 'team/hello-index')
    await daemon.docker('pull', 'hello-larder')
    await daemon.docker('pull', 'large-larder:v1')
    await daemon.docker('pull', `team/hello-index@${index.manifest.digest}`)
    assert.equal(registry.contentRequests, before)
    const pulls = larder.requests().slice(seen)
    assert.ok(pulls.length > 10)
    assert.deepEqual(
      pulls.filter(({ url, cache }) => url !== '/v2/' && cache !== 'hit'),
      [],
    )
  })

  await t.test('the same through the address of the mirror in the name', async () => {
    for (const name of ['hello-larder', 'library/hello-larder', 'docker.io/library/hello-larder']) {
      const printed = await daemon.docker('pull', `${larder.host}/${name}`)
      assert.equal(digestIn(printed), hello.manifest.digest, name)
    }
  })

  await t.test('an unknown name: the client is told that it does not exist', async () => {
    const { code, stderr } = await daemon.tryDocker('pull', `${larder.host}/no-such-thing`)
    assert.equal(code, 1)
    assert.match(stderr, /not found|manifest unknown/i)
  })

  await registry.stop()
  await withoutUpstream(t, { larder, daemon, digest: hello.manifest.digest })
  assert.deepEqual(
    larder.requests().filter(({ status }) => status === 500),
    [],
  )
})

async function withoutUpstream(
  t: TestContext,
  { larder, daemon, digest }: { larder: LarderProcess; daemon: DockerDaemon; digest: string },
): Promise<void> {
  await t.test('the upstream is gone: what was pulled before is pulled again, and runs', async () => {
    const received = await larder.metric('larder_upstream_received_bytes_total')
    const attempted = daemon.attempts.length
    await daemon.docker('rmi', '--force', 'hello-larder')
    assert.equal(digestIn(await daemon.docker('pull', 'hello-larder')), digest)
    assert.equal(await daemon.docker(...runIsolated, 'hello-larder'), `${greeting}\n`)
    assert.equal(await larder.metric('larder_upstream_received_bytes_total'), received)
    assert.equal(daemon.attempts.length, attempted)
  })

  await t.test('the upstream is gone: an unknown name fails at once, with the reason', async () => {
    const startedAt = performance.now()
    const named = await daemon.tryDocker('pull', `${larder.host}/never-pulled`)
    assert.equal(named.code, 1)
    // Docker shows the message of an answer below 500 only; whoever looks further finds it.
    assert.match(named.stderr, /503 Service Unavailable/)
    const answer = await fetch(`${larder.url}/v2/never-pulled/manifests/latest`)
    assert.match(await answer.text(), /docker\.io: .*cannot be reached/)
    const mirrored = await daemon.tryDocker('pull', 'never-pulled')
    assert.equal(mirrored.code, 1)
    assert.ok(performance.now() - startedAt < 10_000, 'at once')
    // By HEAD a name that can be pushed is not there, so that a push goes on; whoever pulls asks by GET next.
    const refused = larder
      .requests()
      .filter(({ method, url }) => url.includes('never-pulled') && method === 'GET')
    assert.ok(refused.length >= 2)
    assert.deepEqual([...new Set(refused.map(({ status }) => status))], [503])
  })
}

/** No network of its own: the daemon has none to give. */
const runIsolated = ['run', '--rm', '--network=none'] as const

/** The digest that `docker pull` prints. */
function digestIn(printed: string): string | undefined {
  return /^Digest: (\S+)$/m.exec(printed)?.[1]
}
