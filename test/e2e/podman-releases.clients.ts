import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startDockerHub } from '../support/docker-hub.ts'
import { meets } from '../support/programs.ts'
import { fileOfPage } from './support/clients-page.ts'
import { type DebianSuite, meetsSuite } from './support/debian-suite.ts'
import { startLarder } from './support/larder-process.ts'
import { startNoInternet } from './support/no-internet.ts'
import { podmanPrograms, podmanStore } from './support/podman.ts'
import { attestedIndex } from './support/sample-images.ts'

const releases: readonly (readonly [release: string, suite: DebianSuite])[] = [
  ['5.4', 'trixie'],
  ['5.8', 'forky'],
]

for (const [release, suite] of releases) {
  test(`Podman ${release}: the second pull asks nobody`, { timeout: 120_000 }, async (t) => {
    if (!meets(t, { programs: [...podmanPrograms, 'busybox'], root: true }) || !meetsSuite(t, suite)) return
    await using hub = await startDockerHub({ referrers: true })
    const image = attestedIndex()
    hub.addImage('library/attested', 'latest', image)
    await using larder = await startLarder({ upstreams: [{ name: 'docker.io', url: hub.url }] })
    await using internet = await startNoInternet()
    const files = fileOfPage('/etc/containers/registries.conf.d/50-larder.conf', larder.host)
    await using store = await podmanStore({ internet, files, suite })
    assert.match(await store.podman('--version'), new RegExp(` ${release.replace('.', '\\.')}\\.`))

    await store.podman('pull', 'docker.io/library/attested')
    await larder.settled()
    await hub.stop()
    hub.reset()
    await store.podman('rmi', '--all', '--force')
    await store.podman('pull', 'docker.io/library/attested')
    assert.deepEqual(hub.requests, [])
    assert.deepEqual(internet.attempts, [])
  })
}
