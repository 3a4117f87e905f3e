// Newer releases of containerd with what docs/clients.md tells to write: pulled with `ctr`, and as a kubelet pulls (CRI),
// which finds the mirror only where `config_path` stands in the right section.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startDockerHub } from '../support/docker-hub.ts'
import { fileOfPage } from './support/clients-page.ts'
import { type ContainerdRelease, meetsContainerd, startContainerd } from './support/containerd.ts'
import { startLarder } from './support/larder-process.ts'
import { startNoInternet } from './support/no-internet.ts'
import { attestedIndex } from './support/sample-images.ts'

const hostsToml = '/etc/containerd/certs.d/docker.io/hosts.toml'
const configToml = '/etc/containerd/config.toml'

type Case = {
  readonly release: ContainerdRelease
  /** Of the blocks of the page. */
  readonly hosts: string
  readonly config: string
}

const cases: readonly Case[] = [
  { release: 'machine', hosts: 'containerd-2.1', config: 'containerd-1' },
  { release: '1.7', hosts: 'containerd-2.1', config: 'containerd-1' },
  { release: '2.1', hosts: 'containerd-2.1', config: 'containerd-2' },
  { release: '2.4', hosts: 'containerd-2.2', config: 'containerd-2' },
]

for (const { release, hosts, config } of cases) {
  test(`containerd ${release}: ctr and CRI pull through the mirror alone`, {
    timeout: 120_000,
  }, async (t) => {
    if (!meetsContainerd(t, release)) return
    await using hub = await startDockerHub({ referrers: true })
    const image = attestedIndex()
    hub.addImage('library/attested', 'latest', image)
    await using larder = await startLarder({ upstreams: [{ name: 'docker.io', url: hub.url }] })
    await using internet = await startNoInternet()
    const files = {
      ...fileOfPage(hostsToml, larder.host, hosts),
      ...fileOfPage(configToml, larder.host, config),
    }
    const name = 'docker.io/library/attested:latest'

    await t.test('as a kubelet pulls: the section of config_path is the right one', async () => {
      await using containerd = await startContainerd({ release, files, internet })
      assert.match(await containerd.crictl('pull', name), /Image is up to date/)
      assert.ok(larder.requests().length > 3)
    })

    await t.test('with ctr, which pulls the attestation too', async () => {
      await using containerd = await startContainerd({ release, files, internet })
      await containerd.pull(name)
      assert.equal(await containerd.digest(name), image.manifest.digest)
    })

    await t.test('the upstream is gone: what is cached is pulled again', async () => {
      await larder.settled()
      await hub.stop()
      await using containerd = await startContainerd({ release, files, internet })
      await containerd.crictl('pull', name)
      await containerd.pull(name)
    })
    assert.deepEqual(internet.attempts, [])
  })
}

for (const release of ['1.7', '2.1'] as const) {
  test(`containerd ${release} passes over the file for newer ones: no mirror`, {
    timeout: 60_000,
  }, async (t) => {
    if (!meetsContainerd(t, release)) return
    await using larder = await startLarder()
    await using internet = await startNoInternet()
    const files = {
      ...fileOfPage(hostsToml, larder.host, 'containerd-2.2'),
      ...fileOfPage(configToml, larder.host, release === '1.7' ? 'containerd-1' : 'containerd-2'),
    }
    await using containerd = await startContainerd({ release, files, internet })
    await assert.rejects(containerd.crictl('pull', 'docker.io/library/any:latest'))
    assert.deepEqual(internet.attempts, ['registry-1.docker.io:443'])
    assert.deepEqual(larder.requests(), [])
  })
}
