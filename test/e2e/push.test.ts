// Clients push an image under a name of the mirror's own, beside a mirrored one that shares its layers, and pull it
// again: what comes back is what was pushed, and no upstream hears of the name.
import assert from 'node:assert/strict'
import { readFile, rm, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { run } from '../support/child-process.ts'
import { pull } from '../support/client.ts'
import { blobOf, buildImage, pseudoRandomBytes } from '../support/images.ts'
import { meets, type ProgramName } from '../support/programs.ts'
import { beginUpload, pushImage, send, withDigest } from '../support/push.ts'
import { fileOfPage } from './support/clients-page.ts'
import { dockerPrograms, startDockerDaemon } from './support/docker-daemon.ts'
import { type LarderProcess, startLarder } from './support/larder-process.ts'
import { startNoInternet } from './support/no-internet.ts'
import { registryPrograms, startRegistry } from './support/registry-process.ts'
import { greeting, helloImage, helloIndex, largeImage } from './support/sample-images.ts'
import { scratchFolder } from './support/scratch-folder.ts'

/** What was written, so far, that is no success. */
function failures(larder: LarderProcess): string[] {
  return larder
    .requests()
    .filter(({ status }) => status >= 400 && status !== 404)
    .map(({ method, url, status }) => `${method} ${url}: ${status}`)
}

test('crane pushes an image and an index, and pulls them again', { timeout: 120_000 }, async (t) => {
  if (!meets(t, { programs: ['crane', 'busybox', ...registryPrograms] })) return
  await using registry = await startRegistry({ auth: 'token' })
  const { image } = largeImage()
  const index = helloIndex()
  await registry.push('library/large', 'v1', image)
  await registry.push('library/hello-index', 'v1', index)
  await using scratch = await scratchFolder()
  const directory = join(scratch.path, 'data')
  await using larder = await startLarder({
    directory,
    upstreams: [{ name: 'docker.io', url: registry.url }],
  })
  await using internet = await startNoInternet()
  const environment = { HOME: scratch.path, ...internet.environment }
  const crane = (...parameters: string[]) => run('crane', ['--insecure', ...parameters], { environment })
  const layout = join(scratch.path, 'layout')
  await crane('pull', '--format', 'oci', `${larder.host}/library/large:v1`, layout)
  await crane('push', layout, `${larder.host}/my-large:v2`)
  await crane('copy', `${larder.host}/library/hello-index:v1`, `${larder.host}/local/team/index:v1`)

  await t.test('a name that is mirrored cannot be pushed, and crane says where to push', async () => {
    const refused = 'team/app:v1'
    await assert.rejects(
      crane('push', layout, `${larder.host}/${refused}`),
      /DENIED.*mirrored from docker\.io: push there, or here under a name/s,
    )
  })
  await registry.stop()

  await t.test('the digests are those that were pushed, and the lists have them', async () => {
    assert.equal((await crane('digest', `${larder.host}/my-large:v2`)).trim(), image.manifest.digest)
    assert.equal((await crane('digest', `${larder.host}/local/team/index:v1`)).trim(), index.manifest.digest)
    assert.equal((await crane('ls', `${larder.host}/my-large`)).trim(), 'v2')
  })

  await t.test('it is pulled again, and every blob is whole', async () => {
    const again = join(scratch.path, 'again')
    await crane('pull', '--format', 'oci', `${larder.host}/my-large:v2`, again)
    for (const { digest } of [image.config, ...image.layers, image.manifest]) {
      assert.equal(digestOf(await readFile(join(again, 'blobs', digest.replace(':', '/')))), digest)
    }
    await crane('validate', '--remote', `${larder.host}/local/team/index:v1`)
  })

  await t.test('bytes that somebody removed, or cut, are sent again', async () => {
    const [largest] = image.layers.toSorted((one, other) => other.size - one.size)
    assert.ok(largest)
    const hex = largest.digest.replace('sha256:', '')
    const path = join(directory, 'blobs', 'sha256', hex.slice(0, 2), hex)
    // Under another tag: that an image is whole is believed for some seconds, and crane sends none that is there.
    for (const [tag, damage] of [
      ['removed', () => rm(path)],
      ['cut', () => truncate(path, 10)],
    ] as const) {
      await damage()
      await crane('push', layout, `${larder.host}/my-large:${tag}`)
      assert.equal(digestOf(await readFile(path)), largest.digest)
    }
  })

  await t.test('a new name, with the line cut', async () => {
    await crane('push', layout, `${larder.host}/offline:v1`)
    assert.equal((await crane('digest', `${larder.host}/offline:v1`)).trim(), image.manifest.digest)
  })
  assert.deepEqual(
    failures(larder).filter((line) => !line.includes('team/app')),
    [],
  )
  assert.deepEqual(internet.attempts, [])
})

test('skopeo copies an image into the mirror, and out of it again', { timeout: 120_000 }, async (t) => {
  if (!meets(t, { programs: ['skopeo', 'busybox', ...registryPrograms] })) return
  await using registry = await startRegistry({ auth: 'token' })
  const { image } = largeImage()
  const index = helloIndex()
  await registry.push('library/large', 'v1', image)
  await registry.push('library/hello-index', 'v1', index)
  await using larder = await startLarder({ upstreams: [{ name: 'docker.io', url: registry.url }] })
  await using internet = await startNoInternet()
  await using scratch = await scratchFolder()
  const environment = { HOME: scratch.path, ...internet.environment }
  const copy = (from: string, to: string, ...more: string[]) =>
    run('skopeo', ['copy', '--src-tls-verify=false', '--dest-tls-verify=false', ...more, from, to], {
      environment,
    })
  const here = (name: string) => `docker://${larder.host}/${name}`
  await copy(here('library/large:v1'), here('skopeo-large:v1'))
  await copy(here('library/hello-index:v1'), here('skopeo-index:v1'), '--all')
  await registry.stop()
  const folder = join(scratch.path, 'dir')
  await copy(here('skopeo-large:v1'), `dir:${folder}`)
  for (const { digest } of [image.config, ...image.layers]) {
    assert.equal(digestOf(await readFile(join(folder, digest.replace('sha256:', '')))), digest)
  }
  assert.equal(digestOf(await readFile(join(folder, 'manifest.json'))), image.manifest.digest)
  const layout = join(scratch.path, 'oci')
  await copy(here('skopeo-index:v1'), `oci:${layout}:v1`, '--all')
  assert.match(await readFile(join(layout, 'index.json'), 'utf8'), new RegExp(index.manifest.digest))
  assert.deepEqual(failures(larder), [])
  assert.deepEqual(internet.attempts, [])
})

test('kill -9 in the middle of an upload, and after a push: it goes on, and what was acknowledged is there', {
  timeout: 60_000,
}, async () => {
  await using scratch = await scratchFolder()
  const options = {
    directory: join(scratch.path, 'data'),
    upstreams: [{ name: 'docker.io', url: 'http://127.0.0.1:9' }],
  }
  const image = buildImage({ seed: 'killed', layers: [5000] })
  const blob = blobOf(pseudoRandomBytes(20_000_000, 'killed'))
  await using first = await startLarder(options)
  await pushImage(`${first.url}/v2/app`, 'v1', image)
  const { pathname } = new URL(await beginUpload(`${first.url}/v2/app`))
  await send('PATCH', first.url + pathname, { body: blob.bytes.subarray(0, 15_000_000) })
  await first.kill()

  await using second = await startLarder(options)
  assert.equal((await pull(`${second.url}/v2/app/manifests/v1`)).digest, image.manifest.digest)
  for (const { digest } of [image.config, ...image.layers]) {
    assert.equal((await pull(`${second.url}/v2/app/blobs/${digest}`)).digest, digest)
  }
  const upload = second.url + pathname
  const { status, headers } = await send('GET', upload)
  const kept = Number(headers.range?.split('-')[1]) + 1
  assert.equal(status, 204)
  assert.ok(kept > 10_000_000, `${kept} of 15,000,000 bytes are kept`)
  const rest = { body: blob.bytes.subarray(kept), headers: { 'content-range': `${kept}-${blob.size - 1}` } }
  assert.equal((await send('PUT', withDigest(upload, blob.digest), rest)).status, 201)
  await second.kill()

  await using third = await startLarder(options)
  // No manifest names it: the name has a tag, so that it is local.
  assert.equal((await pull(`${third.url}/v2/app/blobs/${blob.digest}`)).digest, blob.digest)
})

test('docker pushes what it pulled through the mirror, pulls it again, and runs it', {
  timeout: 180_000,
}, async (t) => {
  const programs: ProgramName[] = [...dockerPrograms, ...registryPrograms, 'busybox']
  if (!meets(t, { programs, root: true })) return
  await using registry = await startRegistry({ auth: 'token' })
  const large = largeImage()
  await registry.push('library/hello-larder', 'latest', helloImage())
  await registry.push('library/large-larder', 'v1', large.image)
  await using larder = await startLarder({ upstreams: [{ name: 'docker.io', url: registry.url }] })
  await using daemon = await startDockerDaemon({
    files: fileOfPage('/etc/docker/daemon.json', larder.host),
  })
  const { docker } = daemon
  const names = { 'hello-larder': `${larder.host}/my-hello:v1`, 'large-larder:v1': `${larder.host}/my-large` }
  const digests = new Map<string, string | undefined>()
  for (const [mirrored, own] of Object.entries(names)) {
    await docker('pull', mirrored)
    await docker('tag', mirrored, own)
    digests.set(own, /digest: (\S+) size/.exec(await docker('push', own))?.[1])
  }
  await registry.stop()

  await t.test('what is pulled again is what was pushed, and it runs', async () => {
    await docker('rmi', '--force', ...Object.keys(names), ...Object.values(names))
    for (const [own, digest] of digests) {
      assert.ok(digest, own)
      assert.equal(/^Digest: (\S+)$/m.exec(await docker('pull', own))?.[1], digest)
    }
    const ran = ['run', '--rm', '--network=none'] as const
    assert.equal(await docker(...ran, `${larder.host}/my-hello:v1`), `${greeting}\n`)
    assert.match(await docker(...ran, `${larder.host}/my-large`), new RegExp(large.largeFileHash))
  })

  await t.test('the second push of the same sends no blob again', async () => {
    const uploads = () => larder.requests().filter(({ method }) => method === 'PATCH').length
    const before = uploads()
    await docker('push', `${larder.host}/my-large`)
    assert.equal(uploads(), before)
  })

  await t.test('a mirrored name: the client is told where to push', async () => {
    await docker('tag', `${larder.host}/my-hello:v1`, `${larder.host}/team/hello`)
    const { code, stderr } = await daemon.tryDocker('push', `${larder.host}/team/hello`)
    assert.equal(code, 1)
    assert.match(stderr, /mirrored from docker\.io: push there, or here under a name/)
  })
  assert.deepEqual(
    failures(larder).filter((line) => !line.includes('team/hello')),
    [],
  )
  assert.deepEqual(daemon.attempts, [])
})
