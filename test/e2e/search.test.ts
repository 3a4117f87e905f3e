import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { meets } from '../support/programs.ts'
import { pushImage } from '../support/push.ts'
import { dockerPrograms, startDockerDaemon } from './support/docker-daemon.ts'
import { startLarder } from './support/larder-process.ts'
import { startNoInternet } from './support/no-internet.ts'
import { podmanPrograms, podmanStore } from './support/podman.ts'

const image = buildImage({ layers: [100], seed: 'search' })

/** A mirror with something pushed, something cached, and a Hub that has more. */
async function start() {
  await using parts = new AsyncDisposableStack()
  const hub = parts.use(await startDockerHub())
  for (const name of ['library/busybox', 'team/busy']) hub.addImage(name, 'latest', image)
  const larder = parts.use(await startLarder({ upstreams: [{ name: 'docker.io', url: hub.url }] }))
  for (const tag of ['v1', 'v2']) await pushImage(`${larder.url}/v2/my-busy`, tag, image)
  assert.equal((await pull(`${larder.url}/v2/busybox/manifests/latest`)).status, 200)
  const owned = parts.move()
  return { hub, larder, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

/** The first column, or the second one, of what a client printed. */
function names(printed: string, column = 0): string[] {
  const [, ...lines] = printed.trim().split('\n')
  return lines.map((line) => line.split(/\s+/)[column] ?? '')
}

const found = ['my-busy', 'docker.io/library/busybox', 'docker.io/team/busy']

test('docker search finds what is pushed, what is cached, and what the Hub has', {
  timeout: 120_000,
}, async (t) => {
  if (!meets(t, { programs: dockerPrograms, root: true })) return
  await using s = await start()
  await using daemon = await startDockerDaemon({ files: {} })
  const printed = await daemon.docker('search', `${s.larder.host}/busy`)
  assert.deepEqual(names(printed).toSorted(), found.toSorted(), printed)
  assert.match(printed, /docker\.io\/library\/busybox +All about library\/busybox +7 +\[OK\]/)
  assert.match(printed, /my-busy +pushed to this mirror/)
  const few = await daemon.docker('search', '--limit', '1', `${s.larder.host}/busy`)
  assert.deepEqual(names(few), ['my-busy'])
  const official = await daemon.docker('search', '--filter', 'is-official=true', `${s.larder.host}/busy`)
  assert.deepEqual(names(official), ['docker.io/library/busybox'])
  await s.hub.stop()
  const alone = await daemon.docker('search', `${s.larder.host}/my`)
  assert.deepEqual(names(alone), ['my-busy'])
  assert.deepEqual(daemon.attempts, [])
})

test('podman search likewise, and the tags of what it found', { timeout: 120_000 }, async (t) => {
  if (!meets(t, { programs: [...podmanPrograms], root: true })) return
  await using s = await start()
  await using internet = await startNoInternet()
  await using store = await podmanStore({ internet, files: {} })
  const search = (...parameters: string[]) => store.podman('search', '--tls-verify=false', ...parameters)
  const printed = await search(`${s.larder.host}/busy`)
  assert.deepEqual(
    names(printed),
    found.map((name) => `${s.larder.host}/${name}`),
    printed,
  )
  const tags = await search('--list-tags', `${s.larder.host}/my-busy`)
  assert.deepEqual(names(tags, 1), ['v1', 'v2'], tags)
  // Without a term it reads the list of repositories.
  const all = await search(`${s.larder.host}/`)
  assert.deepEqual(names(all).toSorted(), [
    `${s.larder.host}/docker.io/library/busybox`,
    `${s.larder.host}/my-busy`,
  ])
  assert.deepEqual(internet.attempts, [])
})
