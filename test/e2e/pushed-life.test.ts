// What exists only here, from the push to its end, with each program that pushes.
import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { run } from '../support/child-process.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { freePort } from '../support/free-port.ts'
import { buildImage, buildIndex } from '../support/images.ts'
import { meets } from '../support/programs.ts'
import { pushImage, send } from '../support/push.ts'
import { until } from '../support/settle.ts'
import { startLarder } from './support/larder-process.ts'
import { writeLayout } from './support/oci-layout.ts'
import { failed, livesAndGoes, succeeded } from './support/pushed-life.ts'
import { dockerPusher, pushers } from './support/pushers.ts'
import { helloImage, ownImage } from './support/sample-images.ts'
import { scratchFolder } from './support/scratch-folder.ts'

for (const kind of pushers) {
  test(`${kind.name} pushes, pushes again, adds a tag, pulls and deletes`, {
    timeout: 120_000,
  }, async (t) => {
    if (!meets(t, { programs: [...kind.programs, 'busybox'], root: kind.needsRoot ?? false })) return
    await using hub = await startDockerHub()
    await using larder = await startLarder({ upstreams: [{ name: 'docker.io', url: hub.url }] })
    await livesAndGoes(t, kind, larder)
    assert.equal(hub.count({ path: /blobs/ }), 0)
  })
}

test('what is deleted gives its space back while the rest goes on, and is pushed again', {
  timeout: 120_000,
}, async (t) => {
  const kind = dockerPusher()
  if (!meets(t, { programs: [...kind.programs, 'busybox'], root: true })) return
  await using scratch = await scratchFolder()
  const directory = join(scratch.path, 'data')
  const upstreams = [{ name: 'docker.io', url: 'http://127.0.0.1:9' }]
  const kept = helloImage()
  const port = await freePort()
  const environment = { MIRROR_SERVER_LISTEN: `127.0.0.1:${port}` }
  await using pusher = await kind.start(`127.0.0.1:${port}`, ownImage())
  {
    await using larder = await startLarder({ directory, upstreams, environment })
    await pushImage(`${larder.url}/v2/kept`, 'v1', kept)
    const digest = await pusher.digestIn(succeeded(await pusher.push('app:v1')))
    const deleted = await send('DELETE', `${larder.url}/v2/app/manifests/${digest}`)
    assert.equal(deleted.status, 202, deleted.text)
  }
  // So short a grace is for what is unneeded already: whoever pushes is given a day to send the manifest.
  const soon = { ...environment, MIRROR_LOCAL_COLLECT_AFTER: '1s' }
  {
    await using _again = await startLarder({ directory, upstreams, environment: soon })
    const left = [kept.config, ...kept.layers].map(({ digest }) => digest).toSorted()
    await until(async () => isDeepStrictEqual(await storedBlobs(directory), left), {
      timeoutMs: 20_000,
      intervalMs: 100,
    })
    failed(await pusher.pull('app:v1'))
    succeeded(await pusher.pull('kept:v1'))
  }
  await using _last = await startLarder({ directory, upstreams, environment })
  succeeded(await pusher.push('app:v1'))
  succeeded(await pusher.pull('app:v1'))
})

test('an index that is deleted takes its images along, and what was about them: the disk and the lists are empty', {
  timeout: 120_000,
}, async (t) => {
  if (!meets(t, { programs: ['skopeo'] })) return
  await using scratch = await scratchFolder()
  const directory = join(scratch.path, 'data')
  const upstreams = [{ name: 'docker.io', url: 'http://127.0.0.1:9' }]
  const environment = { MIRROR_SERVER_LISTEN: `127.0.0.1:${await freePort()}` }
  const images = [
    buildImage({ layers: [20_000, 30_000], seed: 1 }),
    buildImage({ layers: [40_000], seed: 2 }),
  ]
  const index = buildIndex(images)
  const signatures = [index, ...images].map(({ manifest }) =>
    buildImage({ layers: [100], seed: manifest.digest, subject: manifest }),
  )
  const layout = join(scratch.path, 'layout')
  await writeLayout(layout, 'v1', index)
  const skopeo = (...parameters: string[]) =>
    run('skopeo', parameters, { environment: { HOME: scratch.path } })
  {
    await using larder = await startLarder({ directory, upstreams, environment })
    const name = `docker://${larder.host}/app`
    await skopeo(
      'copy',
      '--all',
      '--preserve-digests',
      '--dest-tls-verify=false',
      `oci:${layout}:v1`,
      `${name}:v1`,
    )
    for (const signature of signatures)
      await pushImage(`${larder.url}/v2/app`, signature.manifest.digest, signature)
    await skopeo('delete', '--tls-verify=false', `${name}@${index.manifest.digest}`)
  }
  // So short a grace is for what is unneeded already: whoever pushes is given a day to send the manifest.
  const soon = { ...environment, MIRROR_LOCAL_COLLECT_AFTER: '1s' }
  await using larder = await startLarder({ directory, upstreams, environment: soon })
  await until(async () => (await storedBlobs(directory)).length === 0, { timeoutMs: 30_000, intervalMs: 100 })
  assert.deepEqual(JSON.parse((await send('GET', `${larder.url}/v2/_catalog`)).text), { repositories: [] })
  const removed = larder.log().match(/a manifest that nothing carries was removed/g)
  assert.equal(removed?.length, images.length + signatures.length)
  assert.match(larder.log(), /nothing that was pushed is left under the name/)
})

async function storedBlobs(directory: string): Promise<string[]> {
  const files = await readdir(join(directory, 'blobs', 'sha256'), { recursive: true, withFileTypes: true })
  return files
    .filter((file) => file.isFile())
    .map(({ name }) => `sha256:${name}`)
    .toSorted()
}
