/** Podman fetches of a zstd:chunked image the files that it has not got: through Larder it costs what it costs directly. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pseudoRandomBytes } from '../support/images.ts'
import { meets } from '../support/programs.ts'
import { countedWay } from './support/counted-way.ts'
import { type DebianSuite, meetsSuite } from './support/debian-suite.ts'
import { startLarder } from './support/larder-process.ts'
import { startNoInternet } from './support/no-internet.ts'
import { podmanPrograms, podmanStore } from './support/podman.ts'
import { registryPrograms, startRegistry } from './support/registry-process.ts'
import { runnableImage } from './support/runnable-image.ts'

const fileSize = 100_000
const fileCount = 200
/** Every so many a file is another one in the second image. */
const changedEvery = 20

const partialImages = {
  '/etc/containers/storage.conf':
    '[storage]\ndriver = "overlay"\nrunroot = "/run/containers/storage"\ngraphroot = "/var/lib/containers/storage"\n[storage.options]\npull_options = { enable_partial_images = "true" }\n',
}

function imageOf(version: number) {
  const files = Array.from({ length: fileCount }, (_, n) => {
    const seed = n % changedEvery === 0 ? `${n} of ${version}` : `${n}`
    return { path: `files/${n}`, content: pseudoRandomBytes(fileSize, seed) }
  })
  return runnableImage({ layers: [files], command: ['/none'] })
}

const releases: readonly (readonly [release: string, suite: DebianSuite])[] = [
  ['5.4', 'trixie'],
  ['5.8', 'forky'],
]

for (const [release, suite] of releases) {
  test(`Podman ${release}: the second zstd:chunked image costs what it lacks`, {
    timeout: 300_000,
  }, async (t) => {
    const programs = [...podmanPrograms, ...registryPrograms]
    if (!meets(t, { programs, root: true }) || !meetsSuite(t, suite)) return
    await using registry = await startRegistry({ auth: 'none' })
    const host = registry.url.slice('http://'.length)
    await using internet = await startNoInternet()
    const settings = { internet, suite, files: partialImages, driver: 'overlay' } as const
    {
      await using maker = await podmanStore(settings)
      for (const version of [1, 2]) {
        await registry.push('library/plain', String(version), imageOf(version))
        await maker.podman('pull', '--tls-verify=false', `${host}/library/plain:${version}`)
        const name = `${host}/library/chunked:${version}`
        await maker.podman('tag', `${host}/library/plain:${version}`, name)
        await maker.podman('push', '--tls-verify=false', '--compression-format=zstd:chunked', name)
      }
    }
    await using upstream = await countedWay(host)
    const pulled = async (from: string, onFirst = async (): Promise<void> => {}): Promise<void> => {
      await using store = await podmanStore(settings)
      await store.podman('pull', '--tls-verify=false', `${from}/library/chunked:1`)
      await onFirst()
      await store.podman('pull', '--tls-verify=false', `${from}/library/chunked:2`)
    }
    await pulled(upstream.host, async () => upstream.reset())
    const direct = upstream.bytes
    assert.ok(direct < (2 * fileSize * fileCount) / changedEvery, `a partial pull directly: ${direct} bytes`)

    await using larder = await startLarder({
      upstreams: [{ name: 'docker.io', url: `http://${upstream.host}` }],
      environment: { MIRROR_CACHE_FINISH: 'never' },
    })
    await using mirror = await countedWay(larder.host)
    await pulled(mirror.host, async () => {
      await larder.settled()
      upstream.reset()
      mirror.reset()
    })
    await larder.settled()
    t.diagnostic(`directly ${direct}, from Larder ${mirror.bytes}, from its upstream ${upstream.bytes} bytes`)
    assert.ok(mirror.bytes <= 1.1 * direct, `${mirror.bytes} from Larder, ${direct} directly`)
    assert.ok(upstream.bytes <= 1.1 * direct, `${upstream.bytes} from its upstream, ${direct} directly`)
  })
}
