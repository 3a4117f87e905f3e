/**
 * Forty machines behind one address, each as a Docker daemon: ten layers of an image, three at a time, some machines six.
 * Thought of: all the same image, each another one, half and half; all at once on a line that stands still, the moment at
 * which most is under way. That no bound slows them is counted: nobody waits for a turn among those of its address.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage, pseudoRandomBytes, type TestImage } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'
import { isLoud } from './request-log-fixture.ts'

const machines = 40
const layers = 10
const atOnce = (machine: number): number => (machine % 4 === 0 ? 6 : 3)

/** Takes all blobs of an image, so many at a time. Throws where one does not come whole. */
async function pullBlobs(repository: string, { layers }: TestImage, count: number): Promise<void> {
  const left = [...layers]
  await Promise.all(
    Array.from({ length: count }, async () => {
      for (let layer = left.shift(); layer; layer = left.shift()) {
        const { status, digest } = await pull(`${repository}/blobs/${layer.digest}`)
        assert.deepEqual([status, digest], [200, layer.digest])
      }
    }),
  )
}

for (const [what, imageOf] of [
  ['the same image', () => 0],
  ['each another image', (machine: number) => machine],
  ['half of them the same image', (machine: number) => (machine % 2 === 0 ? 0 : machine)],
] as const) {
  test(`a classroom behind one address that pulls ${what} waits for no bound`, async () => {
    await using hub = await startDockerHub()
    await using mirror = await startMirror({ upstream: hub.url })
    const images = Array.from({ length: machines }, (_, n) => {
      const contents = Array.from({ length: layers }, (_, layer) =>
        pseudoRandomBytes(20_000, `${n} ${layer}`),
      )
      const image = buildImage({ layers: contents })
      hub.addImage(`library/app${n}`, 'latest', image)
      return image
    })
    using standing = hub.hold({ listener: 'cdn' }, 10_000)
    const pulling = Array.from({ length: machines }, async (_, machine) => {
      const n = imageOf(machine)
      const image = images[n]
      assert.ok(image)
      const repository = `${mirror.url}/v2/library/app${n}`
      assert.equal((await pull(`${repository}/manifests/latest`)).status, 200)
      await pullBlobs(repository, image, atOnce(machine))
    })
    const expected = Array.from({ length: machines }, (_, machine) => atOnce(machine))
    const most = expected.reduce((sum, count) => sum + count)
    const blobs = () => mirror.app.underWay.requests
    await until(() => blobs() === most, { timeoutMs: 20_000, what: `${most} requests under way` })
    standing.release()
    await Promise.all(pulling)
    assert.equal(await mirror.metric('larder_client_turns_total'), 0)
    assert.equal(await mirror.metric('larder_clients_let_go_total'), 0)
    assert.deepEqual(mirror.events().filter(isLoud), [])
  })
}
