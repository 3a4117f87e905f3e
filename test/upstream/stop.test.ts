import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'

const image = buildImage()
/** What a stop must not wait for takes a minute: its own work takes what the machine needs. */
const config = { 'server.shutdownGrace': '0s', 'limits.stall': '1m', 'limits.patience': '1m' }
const [layer = image.config] = image.layers

for (const listener of ['token', 'registry', 'cdn'] as const) {
  for (const [what, method, path] of [
    ['a manifest', 'GET', 'manifests/latest'],
    ['a blob', 'GET', `blobs/${layer.digest}`],
    ['the size of a blob', 'HEAD', `blobs/${layer.digest}`],
    ['the tags', 'GET', 'tags/list'],
  ] as const) {
    if (listener === 'cdn' && !path.startsWith('blobs')) continue
    test(`the mirror stops at once while ${listener} says nothing to a question for ${what}`, async (t) => {
      const hub = await startDockerHub()
      t.after(() => hub.close())
      hub.addImage('library/app', 'latest', image)
      hub.fault({ listener }, { stallBeforeHeaders: true })
      const mirror = await startMirror({ upstream: hub.url, config })
      const asking = fetch(`${mirror.url}/v2/library/app/${path}`, { method }).catch(() => undefined)
      await until(() => hub.count({ listener }) > 0)
      const began = performance.now()
      await mirror[Symbol.asyncDispose]()
      const ms = performance.now() - began
      await asking
      assert.ok(ms < 30_000, `${Math.round(ms)} ms`)
    })
  }
}
