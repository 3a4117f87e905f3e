// Where a client looks for the certificate of a mirror by HTTPS that the system does not know. Clients trust 127.0.0.1
// whatever it shows, so that all of this runs in a network of its own, where the mirror has another address.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { finish } from '../support/child-process.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { meets } from '../support/programs.ts'
import { fileOfPage } from './support/clients-page.ts'
import { meetsContainerd, startContainerd } from './support/containerd.ts'
import { meetsSuite } from './support/debian-suite.ts'
import { type DockerRelease, meetsDocker, startDockerDaemon } from './support/docker-daemon.ts'
import { startLarder } from './support/larder-process.ts'
import { podmanPrograms, podmanStore } from './support/podman.ts'
import { attestedIndex } from './support/sample-images.ts'
import { ownAddress, silentNetwork, silentPrograms } from './support/silent-network.ts'
import { startTlsFront, type TlsFront } from './support/tls-front.ts'

const inside = 'LARDER_TEST_IN_OWN_NETWORK'
const daemonJson = '/etc/docker/daemon.json'
const containerdStore = { features: { 'containerd-snapshotter': true } }
const here = { by: [['unshare', '--uts']] } as const

if (process.env[inside] === undefined) {
  test('a mirror by HTTPS with a certificate of the house', { timeout: 240_000 }, async (t) => {
    if (!meets(t, { programs: [...silentPrograms, 'openssl', ...podmanPrograms], root: true })) return
    if (!meetsDocker(t, '29') || !meetsDocker(t, '28.5') || !meetsContainerd(t, '2.4')) return
    const environment = { HOME: process.env.HOME ?? '/root', [inside]: 'yes' }
    const parameters = ['--test', '--test-timeout=120000', import.meta.filename]
    const network = { by: silentNetwork, timeoutMs: 200_000, environment }
    const { code, stdout } = await finish('node', parameters, network)
    assert.equal(code, 0, stdout)
    assert.match(stdout, /pass [5-9]/)
  })
} else {
  type Case = { release: DockerRelease; what: string; config?: object; folder(mirror: string): string }
  const cases: readonly Case[] = [
    { release: 'machine', what: 'the classic store', folder: (mirror) => mirror },
    { release: '28.5', what: 'the classic store', folder: (mirror) => mirror },
    {
      release: '28.5',
      what: 'the containerd image store',
      config: containerdStore,
      folder: () => 'docker.io',
    },
    { release: '29', what: 'the containerd image store', folder: () => 'docker.io' },
  ]
  for (const { release, what, config, folder } of cases) {
    test(`Docker ${release}, ${what}: the folder in /etc/docker/certs.d`, (t) =>
      withMirror(async (tls) => {
        if (!meetsDocker(t, release)) return
        const mirrors = JSON.stringify({ 'registry-mirrors': [`https://${tls.host}`], ...config })
        for (const each of [tls.host, 'docker.io']) {
          const files = { [daemonJson]: mirrors, [`/etc/docker/certs.d/${each}/ca.crt`]: tls.certificate }
          await using daemon = await startDockerDaemon({ ...here, release, files })
          const { code, stderr } = await daemon.tryDocker('pull', 'attested')
          assert.equal(code === 0, each === folder(tls.host), `${each}: ${stderr}`)
        }
      }))
  }

  test('Docker 29 and containerd 2.4: `ca` in hosts.toml', (t) =>
    withMirror(async (tls) => {
      const trusting = (path: string, variant: string) => ({
        [path]: (fileOfPage(path, tls.host, variant)[path] ?? '')
          .replace('http://', 'https://')
          .replace(/$/, '  ca = "/etc/larder.crt"\n'),
        '/etc/larder.crt': tls.certificate,
      })
      const docker = trusting('/etc/docker/certs.d/docker.io/hosts.toml', 'docker-29')
      await using daemon = await startDockerDaemon({ ...here, release: '29', files: docker })
      await daemon.docker('pull', 'attested')
      const hosts = trusting('/etc/containerd/certs.d/docker.io/hosts.toml', 'containerd-2.2')
      const config = fileOfPage('/etc/containerd/config.toml', tls.host, 'containerd-2')
      await using containerd = await startContainerd({ release: '2.4', files: { ...hosts, ...config } })
      await containerd.crictl('pull', 'docker.io/library/attested')
      t.diagnostic('both')
    }))

  test('Podman: the folder of the mirror in /etc/containers/certs.d', (t) =>
    withMirror(async (tls) => {
      if (!meetsSuite(t, 'forky')) return
      const path = '/etc/containers/registries.conf.d/50-larder.conf'
      const secure = (fileOfPage(path, tls.host)[path] ?? '').replace('insecure = true\n', '')
      const files = { [path]: secure, [`/etc/containers/certs.d/${tls.host}/ca.crt`]: tls.certificate }
      for (const suite of [undefined, 'forky'] as const) {
        await using store = await podmanStore({ files, ...(suite && { suite }) })
        await store.podman('pull', 'docker.io/library/attested')
      }
    }))
}

async function withMirror(use: (tls: TlsFront) => Promise<void>): Promise<void> {
  await using hub = await startDockerHub({ referrers: true })
  hub.addImage('library/attested', 'latest', attestedIndex())
  await using larder = await startLarder({ upstreams: [{ name: 'docker.io', url: hub.url }] })
  await using tls = await startTlsFront({ address: ownAddress, url: larder.url })
  await use(tls)
}
