// Newer releases of Docker, on both of their stores, with what docs/clients.md tells to write. An image of today has an
// attestation, whose referrers Docker 29 asks for: from the registry itself where a mirror does not answer, at each
// pull. Tried besides an image with an attestation: what has referrers, and what has none.
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { startDockerHub } from '../support/docker-hub.ts'
import { fileOfPage } from './support/clients-page.ts'
import { type DockerRelease, meetsDocker, startDockerDaemon } from './support/docker-daemon.ts'
import { type LoggedRequest, startLarder } from './support/larder-process.ts'
import { attestedIndex, signatureOf } from './support/sample-images.ts'
import { scratchFolder } from './support/scratch-folder.ts'

const daemonJson = '/etc/docker/daemon.json'
const hostsToml = '/etc/docker/certs.d/docker.io/hosts.toml'
const containerdStore = JSON.stringify({ features: { 'containerd-snapshotter': true } })

type Case = {
  readonly release: DockerRelease
  readonly what: string
  /** What the person who follows the page writes. */
  files(mirror: string): Readonly<Record<string, string>>
}

const cases: readonly Case[] = [
  { release: '26.1', what: 'registry-mirrors', files: (mirror) => fileOfPage(daemonJson, mirror) },
  { release: '28.5', what: 'registry-mirrors', files: (mirror) => fileOfPage(daemonJson, mirror) },
  {
    release: '26.1',
    what: 'registry-mirrors, containerd image store',
    files: (mirror) => withContainerdStore(fileOfPage(daemonJson, mirror)),
  },
  {
    release: '28.5',
    what: 'registry-mirrors, containerd image store',
    files: (mirror) => withContainerdStore(fileOfPage(daemonJson, mirror)),
  },
  {
    release: '28.5',
    what: 'hosts.toml, containerd image store',
    files: (mirror) => ({ ...fileOfPage(hostsToml, mirror, 'docker-28'), [daemonJson]: containerdStore }),
  },
  { release: '29', what: 'registry-mirrors', files: (mirror) => fileOfPage(daemonJson, mirror) },
  { release: '29', what: 'hosts.toml', files: (mirror) => fileOfPage(hostsToml, mirror, 'docker-29') },
]

for (const { release, what, files } of cases) {
  test(`Docker ${release}, ${what}: the second pull asks nobody`, { timeout: 180_000 }, async (t) => {
    if (!meetsDocker(t, release)) return
    await using hub = await startDockerHub({ referrers: true })
    const [plain, signed] = [attestedIndex(), attestedIndex('signed')]
    hub.addImage('library/attested', 'latest', plain)
    hub.addImage('library/signed', 'latest', signed)
    hub.addImage('library/signed', undefined, signatureOf(signed.attestation.manifest))
    await using larder = await startLarder({ upstreams: [{ name: 'docker.io', url: hub.url }] })
    await using daemon = await startDockerDaemon({ release, files: files(larder.host) })
    const pull = async () => {
      for (const [name, { manifest }] of [['attested', plain] as const, ['signed', signed] as const]) {
        const printed = await daemon.docker('pull', name)
        assert.match(printed, new RegExp(`^Digest: ${manifest.digest}$`, 'm'))
      }
    }

    await t.test('the first pull comes through the mirror alone', async () => {
      await pull()
      assert.deepEqual(daemon.attempts, [])
      assert.deepEqual(notFound(larder.requests()), [])
    })

    await t.test('the second pull asks nobody', async () => {
      await larder.settled()
      await daemon.docker('rmi', '--force', 'attested', 'signed')
      hub.reset()
      await pull()
      assert.deepEqual(hub.requests, [])
      assert.deepEqual(daemon.attempts, [])
    })

    await t.test('the upstream is gone: a pull of what is cached is as fast', async () => {
      await hub.stop()
      await daemon.docker('rmi', '--force', 'attested', 'signed')
      const startedAt = performance.now()
      await pull()
      const seconds = (performance.now() - startedAt) / 1000
      assert.ok(seconds < 5, `${seconds} s`)
      assert.deepEqual(daemon.attempts, [])
      t.diagnostic(`two cached images without an upstream: ${seconds.toFixed(1)} s`)
    })
  })
}

/** Chooses the store that newer installations have, besides what the page tells to write. */
function withContainerdStore(files: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const written = JSON.parse(files[daemonJson] ?? '{}')
  return { ...files, [daemonJson]: JSON.stringify({ ...written, ...JSON.parse(containerdStore) }) }
}

/** The requests that the mirror had no answer for, which a client then takes to the registry itself. */
function notFound(requests: readonly LoggedRequest[]): readonly string[] {
  return requests
    .filter(({ status }) => status !== 200)
    .map(({ method, url, status }) => `${status} ${method} ${url}`)
}

test('Docker 28.5 passes over the hosts.toml for 29: no mirror', { timeout: 60_000 }, async (t) => {
  if (!meetsDocker(t, '28.5')) return
  await using larder = await startLarder()
  const files = { ...fileOfPage(hostsToml, larder.host, 'docker-29'), [daemonJson]: containerdStore }
  await using daemon = await startDockerDaemon({ release: '28.5', files })
  await daemon.tryDocker('pull', 'any')
  assert.deepEqual(daemon.attempts, ['registry-1.docker.io:443'])
  assert.deepEqual(larder.requests(), [])
})

test('Docker 29 goes past a mirror whose hosts.toml leaves out the referrers', {
  timeout: 60_000,
}, async (t) => {
  if (!meetsDocker(t, '29')) return
  await using hub = await startDockerHub({ referrers: true })
  hub.addImage('library/attested', 'latest', attestedIndex())
  await using larder = await startLarder({ upstreams: [{ name: 'docker.io', url: hub.url }] })
  await using daemon = await startDockerDaemon({
    release: '29',
    files: fileOfPage(hostsToml, larder.host, 'docker-28'),
  })
  await daemon.tryDocker('pull', 'attested')
  assert.deepEqual([...new Set(daemon.attempts)], ['registry-1.docker.io:443'])
})

test('Docker 29, hosts.toml for another registry: its images come through the same mirror', {
  timeout: 60_000,
}, async (t) => {
  if (!meetsDocker(t, '29')) return
  await using hub = await startDockerHub({ referrers: true })
  await using other = await startDockerHub({ referrers: true })
  const image = attestedIndex('another registry')
  other.addImage('team/app', 'v1', image)
  const upstreams = [
    { name: 'docker.io', url: hub.url },
    { name: 'ghcr.io', url: other.url },
  ]
  await using larder = await startLarder({ upstreams })
  const files = Object.entries(fileOfPage(hostsToml, larder.host, 'docker-29')).map(([path, content]) => [
    path.replace('docker.io', 'ghcr.io'),
    content.replace('registry-1.docker.io', 'ghcr.io'),
  ])
  await using daemon = await startDockerDaemon({ release: '29', files: Object.fromEntries(files) })
  const printed = await daemon.docker('pull', 'ghcr.io/team/app:v1')
  assert.match(printed, new RegExp(`^Digest: ${image.manifest.digest}$`, 'm'))
  assert.equal(hub.count({ path: /team/ }), 0)
  assert.deepEqual(daemon.attempts, [])
})

for (const release of ['26.1', '28.5', '29'] as const) {
  test(`Docker ${release}: a build takes its base image from the mirror`, { timeout: 120_000 }, async (t) => {
    if (!meetsDocker(t, release)) return
    await using hub = await startDockerHub({ referrers: true })
    hub.addImage('library/attested', 'latest', attestedIndex())
    await using larder = await startLarder({ upstreams: [{ name: 'docker.io', url: hub.url }] })
    await using daemon = await startDockerDaemon({ release, files: fileOfPage(daemonJson, larder.host) })
    await using scratch = await scratchFolder()
    await writeFile(join(scratch.path, 'Dockerfile'), 'FROM attested\nLABEL built=here\n')
    await daemon.docker('build', '--tag', 'built', scratch.path)
    assert.ok(larder.requests().some(({ url }) => url.includes('/blobs/')))
    assert.deepEqual(daemon.attempts, [])
  })
}

for (const referrers of [true, false]) {
  const api = referrers ? 'with' : 'without'
  test(`Docker 29, an upstream ${api} referrers: Larder restarted, its tags too old, the line cut`, {
    timeout: 120_000,
  }, async (t) => {
    if (!meetsDocker(t, '29')) return
    await using hub = await startDockerHub({ referrers })
    hub.addImage('library/attested', 'latest', attestedIndex())
    await using scratch = await scratchFolder()
    const settings = {
      upstreams: [{ name: 'docker.io', url: hub.url }],
      directory: join(scratch.path, 'data'),
      environment: { MIRROR_CACHE_REVALIDATE: '0', MIRROR_CACHE_NEGATIVE: '0' },
    }
    {
      await using larder = await startLarder(settings)
      await using daemon = await startDockerDaemon({
        release: '29',
        files: fileOfPage(daemonJson, larder.host),
      })
      await daemon.docker('pull', 'attested')
      assert.deepEqual(daemon.attempts, [])
      await larder.settled()
    }
    await hub.stop()
    await using larder = await startLarder(settings)
    await using daemon = await startDockerDaemon({
      release: '29',
      files: fileOfPage(daemonJson, larder.host),
    })
    const startedAt = performance.now()
    await daemon.docker('pull', 'attested')
    assert.ok(performance.now() - startedAt < 5000, `${performance.now() - startedAt} ms`)
    assert.deepEqual(daemon.attempts, [])
  })
}
