/**
 * A line that drops while an image comes over it, five times, and a Larder that is killed in the middle: clients that are
 * real pull the image all the same, in one go. dockerd goes on where it was by itself; podman and skopeo cannot, and
 * notice nothing of the cuts behind Larder.
 */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { run } from '../support/child-process.ts'
import { type DockerHub, startDockerHub } from '../support/docker-hub.ts'
import { freePort } from '../support/free-port.ts'
import { meets } from '../support/programs.ts'
import { until } from '../support/settle.ts'
import { type SlowLine, startSlowLine } from '../support/slow-line.ts'
import { fileOfPage } from './support/clients-page.ts'
import { dockerPrograms, startDockerDaemon } from './support/docker-daemon.ts'
import { type LarderProcess, startLarder } from './support/larder-process.ts'
import { startNoInternet } from './support/no-internet.ts'
import { podmanPrograms, podmanStore } from './support/podman.ts'
import { largeImage } from './support/sample-images.ts'
import { scratchFolder } from './support/scratch-folder.ts'

const cuts = 5
/** Bytes that a cut may cost each time, and the end of Larder for each blob that was on its way. */
const lost = { byCut: 128 * 1024, byKill: 512 * 1024 }
const { image, largeFileHash } = largeImage()
const blobs = [image.config, ...image.layers]
const size = blobs.reduce((sum, blob) => sum + blob.size, 0)
const name = 'large-larder:v1'

interface Scene extends AsyncDisposable {
  readonly line: SlowLine
  readonly hub: DockerHub
  readonly larder: LarderProcess
  /** `kill -9`, and another one at the same address on the same folder. */
  killLarder(): Promise<void>
}

async function openScene(): Promise<Scene> {
  await using opening = new AsyncDisposableStack()
  const line = opening.use(await startSlowLine({ rateBytesPerSecond: 4_000_000, delayMs: 20 }))
  const hub = opening.use(await startDockerHub({ line }))
  hub.addImage('library/large-larder', 'v1', image)
  const { path: directory } = opening.use(await scratchFolder())
  const options = {
    directory,
    upstreams: [{ name: 'docker.io', url: hub.url }],
    environment: { MIRROR_SERVER_LISTEN: `127.0.0.1:${await freePort()}` },
  }
  const larder = opening.use(await startLarder(options))
  const open = opening.move()
  return {
    line,
    hub,
    larder,
    async killLarder() {
      await larder.kill()
      open.use(await startLarder(options))
    },
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  }
}

/** Cuts the line again and again while `pulling`; `atHalf` happens in the middle of that. */
async function cutWhile(
  t: TestContext,
  { line, hub }: Scene,
  pulling: Promise<unknown>,
  atHalf?: () => Promise<void>,
): Promise<void> {
  const before = line.bytes.down
  const cutting = async (): Promise<void> => {
    for (let cut = 1; cut <= cuts; cut += 1) {
      const enough = before + (cut * size) / (cuts + 1)
      await until(() => line.bytes.down >= enough, { timeoutMs: 120_000, what: `cut ${cut} is due` })
      line.cutAll()
      if (cut === Math.ceil(cuts / 2)) await atHalf?.()
    }
  }
  await Promise.all([pulling, cutting()])
  const sent = blobs.reduce((sum, { digest }) => sum + hub.bytesSent(digest), 0)
  const crossed = line.bytes.down - before
  t.diagnostic(`${crossed} bytes crossed the line for ${size}, the upstream has sent ${sent}`)
  const most = size * 1.01 + cuts * lost.byCut + (atHalf ? blobs.length * lost.byKill : 0)
  assert.ok(crossed <= most, `${crossed} bytes crossed the line, of ${size}`)
}

test('clients over a line that is cut five times', { timeout: 300_000 }, async (t) => {
  await t.test('dockerd, and Larder is killed as well', async (t) => {
    if (!meets(t, { programs: [...dockerPrograms, 'busybox'], root: true })) return
    await using scene = await openScene()
    const files = fileOfPage('/etc/docker/daemon.json', scene.larder.host)
    await using daemon = await startDockerDaemon({ files, timeoutMs: 150_000 })
    await cutWhile(t, scene, daemon.docker('pull', name), scene.killLarder)
    const isolated = ['run', '--rm', '--network=none', '--security-opt=seccomp=unconfined']
    assert.match(await daemon.docker(...isolated, name), new RegExp(largeFileHash))
    assert.deepEqual(daemon.attempts, [], 'all of it came through Larder')
  })
  await t.test('podman', async (t) => {
    if (!meets(t, { programs: [...podmanPrograms, 'busybox'], root: true })) return
    await using scene = await openScene()
    await using internet = await startNoInternet()
    await using store = await podmanStore({ internet, files: {} })
    const source = `${scene.larder.host}/library/${name}`
    await cutWhile(t, scene, store.podman('pull', '--tls-verify=false', source))
    assert.equal(await store.digest(source), image.manifest.digest)
  })
  await t.test('skopeo', async (t) => {
    if (!meets(t, { programs: ['skopeo', 'busybox'] })) return
    await using scene = await openScene()
    await using internet = await startNoInternet()
    await using scratch = await scratchFolder()
    const environment = { HOME: scratch.path, ...internet.environment }
    const folder = join(scratch.path, 'dir')
    const source = `docker://${scene.larder.host}/library/${name}`
    const parameters = ['copy', '--src-tls-verify=false', source, `dir:${folder}`]
    await cutWhile(t, scene, run('skopeo', parameters, { environment, timeoutMs: 150_000 }))
    for (const { digest } of blobs) {
      assert.equal(digestOf(await readFile(join(folder, digest.replace('sha256:', '')))), digest)
    }
  })
})
