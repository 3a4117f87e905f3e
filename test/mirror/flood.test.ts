import assert from 'node:assert/strict'
import http, { type ServerResponse } from 'node:http'
import { type TestContext, test } from 'node:test'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'
import { listen } from '../upstream/fixtures.ts'

// Neighbours: clients that leave at once, and that stay and read nothing; manifests, lists of tags; what the upstream
// sees at a time; whether others are answered meanwhile.

const count = 40
const atOnce = 16
const type = 'application/vnd.oci.image.manifest.v1+json'
const descriptor = { mediaType: 'application/x', digest: `sha256:${'a'.repeat(64)}`, size: 1 }
const text = 'x'.repeat(1024 * 1024)
const tags = Array.from({ length: 20_000 }, (_, index) => `v${index}`)

/** Megabytes of text with little to do for whoever reads them, other ones for each tag. */
function manifestOf(tag: string): string {
  const annotations = { tag, text }
  return JSON.stringify({
    schemaVersion: 2,
    mediaType: type,
    config: descriptor,
    layers: [descriptor],
    annotations,
  })
}

/** For a machine that is so busy that a question waits for its turn for longer than it may. */
const patiently = { timeoutMs: 120_000, intervalMs: 20 }

/** How many had to wait for their turn for too long. */
function refused(mirror: TestMirror): number {
  return mirror
    .events('request')
    .filter(({ error }) => String(error).includes('questions that came before took')).length
}

const tagList = JSON.stringify({ name: 'library/app', tags })

function answer(url: string, response: ServerResponse): void {
  const [, tag] = /\/manifests\/(.+)$/.exec(url) ?? []
  response.setHeader('content-type', tag === undefined ? 'application/json' : type)
  response.end(tag === undefined ? tagList : manifestOf(tag))
}

/**
 * A registry, which may say nothing, and what it was asked at a time: the same question may come once more by another
 * connection where a kept one is silent for long. Whether it is there at all, as the silence of a busy machine has it asked,
 * it answers.
 */
async function registryOf(t: TestContext, isSilent: boolean) {
  const now = new Map<string, number>()
  const asked = new Set<string>()
  const seen = { now, asked, most: 0 }
  const registry = await listen(t, ({ url = '' }, response) => {
    if (url === '/v2/') return void response.end()
    asked.add(url)
    now.set(url, (now.get(url) ?? 0) + 1)
    seen.most = Math.max(seen.most, now.size)
    const over = (): void => {
      const left = (now.get(url) ?? 0) - 1
      if (left > 0) now.set(url, left)
      else now.delete(url)
    }
    if (isSilent) return void response.once('close', over)
    // Those that come together are counted before one of them has its answer.
    setTimeout(() => {
      over()
      answer(url, response)
    }, 50)
  })
  return { url: registry.url, seen }
}

const floods: Readonly<Record<string, (index: number) => string>> = {
  'manifests of 1 MiB': (index) => `/v2/library/app/manifests/v${index}`,
  'lists of 20,000 tags': (index) => `/v2/library/app/tags/list?last=${index}`,
}

for (const [what, path] of Object.entries(floods)) {
  test(`${count} ${what}, of a client that leaves: the upstream was asked for ${atOnce}, and is for no more`, async (t) => {
    const { url, seen } = await registryOf(t, true)
    const { mirror, requests } = await flood(t, url, path)
    await until(
      () => mirror.app.underWay.requests + refused(mirror) === count && seen.now.size === atOnce,
      patiently,
    )
    // A place that is free goes to whoever still waits for one: those go first.
    const [held, waiting] = [true, false].map((isAsked) =>
      requests.filter(({ path }) => seen.asked.has(path) === isAsked),
    )
    for (const request of waiting ?? []) request.destroy()
    await until(() => mirror.app.underWay.requests === atOnce)
    for (const request of held ?? []) request.destroy()
    await until(() => mirror.app.underWay.requests === 0 && seen.now.size === 0)
    assert.equal(seen.asked.size, atOnce)
  })

  test(`${count} ${what}, of a client that reads nothing: the upstream is asked ${atOnce} at a time, and others are answered`, async (t) => {
    const { url, seen } = await registryOf(t, false)
    const { mirror } = await flood(t, url, path)
    await until(() => seen.asked.size > 0)
    assert.equal((await fetch(`${mirror.url}/healthz`)).status, 200)
    await until(() => seen.asked.size + refused(mirror) === count && seen.now.size === 0, patiently)
    assert.ok(seen.most <= atOnce, `${seen.most} at a time`)
  })
}

async function flood(t: TestContext, upstream: string, path: (index: number) => string) {
  const mirror = await startMirror({
    upstream,
    config: { 'limits.patience': '5m' },
    // However slow this machine is, no turn is over.
    turnMs: 600_000,
  })
  t.after(() => mirror[Symbol.asyncDispose]())
  const agent = new http.Agent({ maxSockets: Number.POSITIVE_INFINITY })
  t.after(() => agent.destroy())
  // Their answers are never read: no more than the buffers of the system comes.
  const requests = Array.from({ length: count }, (_, index) =>
    http
      .get(`${mirror.url}${path(index)}`, { agent })
      .on('error', () => {})
      .on('response', () => {}),
  )
  return { mirror, requests }
}
