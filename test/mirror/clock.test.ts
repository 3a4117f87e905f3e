import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'

// Neighbours: what is trusted for a while in memory: a tag, a refusal, a list of tags, a list of referrers, a list as a
// witness; what is written down with its time: a tag, referrers; back and forward; the upstream there and gone.

const day = 24 * 60 * 60_000
const image = buildImage({ layers: [1000] })
const signature = buildImage({ seed: 'signature', subject: image.manifest })

const questions: Readonly<Record<string, string>> = {
  'a tag': 'library/app/manifests/latest',
  'a refusal': 'library/none/manifests/latest',
  'a list of tags': 'library/app/tags/list',
  'a list of referrers': `library/app/referrers/${image.manifest.digest}`,
}

async function start(t: TestContext, config = {}) {
  const hub = await startDockerHub()
  t.after(() => hub.close())
  hub.addImage('library/app', 'latest', image)
  hub.addImage('library/app', 'signature', signature)
  const mirror = await startMirror({
    upstream: hub.url,
    config: { 'cache.revalidate': '100ms', 'cache.negative': '100ms', ...config },
  })
  t.after(() => mirror[Symbol.asyncDispose]())
  return { hub, mirror }
}

async function ask(mirror: TestMirror, path: string) {
  const response = await fetch(`${mirror.url}/v2/${path}`)
  await response.arrayBuffer()
  return {
    status: response.status,
    cache: response.headers.get('x-larder-cache'),
    age: response.headers.get('age'),
  }
}

function setClock(t: TestContext, days: number): void {
  const now = Date.now()
  t.mock.timers.enable({ apis: ['Date'], now: now + days * day })
}

for (const [what, path] of Object.entries(questions)) {
  for (const days of [-400, 400]) {
    test(`${what} is asked for again, though the clock was set by ${days} days`, async (t) => {
      const { hub, mirror } = await start(t)
      await ask(mirror, `library/app/manifests/${image.manifest.digest}`)
      await ask(mirror, path)
      setClock(t, days)
      const before = hub.requests.length
      await until(async () => {
        await ask(mirror, path)
        // It goes on from where it was set.
        t.mock.timers.tick(10)
        return hub.requests.length > before
      })
    })
  }
}

test('what was confirmed in the future, as it seems now, is served while the upstream is gone', async (t) => {
  const { hub, mirror } = await start(t)
  assert.equal((await ask(mirror, questions['a tag'] as string)).status, 200)
  setClock(t, -400)
  hub.fault({}, { status: 503 })
  await until(async () => {
    const { status, cache, age } = await ask(mirror, questions['a tag'] as string)
    assert.deepEqual([status, age], [200, '0'])
    return cache === 'stale'
  })
})
