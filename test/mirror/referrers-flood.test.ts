// Neighbours thought of: lists of megabytes for digests that somebody makes up: how many are read at once, what is left
// on disk, how long the others wait; silence behind the bound, and a subject that is here meanwhile; a made-up subject
// asked for again.
import assert from 'node:assert/strict'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type Pulled, pull } from '../support/client.ts'
import { buildImage, descriptorOf } from '../support/images.ts'
import { type MirrorOptions, startMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'
import { listen } from '../upstream/fixtures.ts'

const subject = buildImage({ seed: 'subject' })
const signature = buildImage({ seed: 'signature', subject: subject.manifest })
const entry = descriptorOf(signature.manifest)
const megabytes = (text: string) =>
  Buffer.from(JSON.stringify({ manifests: [{ ...entry, annotations: { text } }] }))
const large = megabytes('x'.repeat(3 * 1024 * 1024))
const small = megabytes('')
const madeUp = (index: number) => `sha256:${index.toString(16).padStart(64, '0')}`
const countOf = (answer: Pulled) => JSON.parse(answer.text).manifests.length as number

/** However slow this machine is, nobody is given up. */
const patiently: MirrorOptions = {
  config: { 'limits.patience': '5m' },
  patienceMs: 300_000,
  turnMs: 600_000,
}

/** `answers`: what the upstream has for a made-up digest; undefined for silence. */
async function start(t: TestContext, answer: Buffer | undefined, options: MirrorOptions = {}) {
  const running = { now: 0, most: 0, asked: 0 }
  const upstream = await listen(t, ({ url = '' }, response) => {
    if (url.endsWith(subject.manifest.digest) && !url.includes('/referrers/')) {
      response.writeHead(200, { 'content-type': subject.manifest.mediaType })
      return void response.end(subject.manifest.bytes)
    }
    if (!url.includes('/referrers/')) return void response.writeHead(404).end()
    if (url.endsWith(subject.manifest.digest)) return void response.end(small)
    running.asked += 1
    running.now += 1
    running.most = Math.max(running.most, running.now)
    response.on('close', () => {
      running.now -= 1
    })
    if (answer) setTimeout(() => response.end(answer), 20)
  })
  const mirror = await startMirror({ upstream: upstream.url, ...options })
  t.after(() => mirror[Symbol.asyncDispose]())
  const ask = (digest: string) => pull(`${mirror.url}/v2/team/app/referrers/${digest}`)
  return { mirror, ask, running }
}

async function bytesOf(directory: string): Promise<number> {
  const names = await readdir(directory, { recursive: true })
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(directory, name))).size))
  return sizes.reduce((sum, size) => sum + size, 0)
}

test('large lists for digests that somebody makes up: few are read at once, and none comes to the disk', async (t) => {
  const { mirror, ask, running } = await start(t, large, patiently)
  const before = await bytesOf(mirror.directory)
  const answers = await Promise.all(Array.from({ length: 20 }, (_, index) => ask(madeUp(index))))
  for (const { status, text, headers } of answers)
    assert.deepEqual([status, headers.warning, text.includes(entry.digest)], [200, undefined, true])
  assert.ok(running.most <= 4, `${running.most} at once`)
  const grown = (await bytesOf(mirror.directory)) - before
  assert.ok(grown < 1024 * 1024, `${grown} bytes more on disk`)
})

test('a small list of a subject that is not here is remembered, without the disk', async (t) => {
  const { ask, running } = await start(t, small)
  for (const status of ['miss', 'hit', 'hit']) {
    const answer = await ask(madeUp(1))
    assert.deepEqual([countOf(answer), answer.headers['x-larder-cache']], [1, status])
  }
  assert.equal(running.asked, 1)
})

test('an upstream that is silent about digests that somebody makes up: what is here is answered at once', async (t) => {
  const { mirror, ask, running } = await start(t, undefined, patiently)
  await pull(`${mirror.url}/v2/team/app/manifests/${subject.manifest.digest}`)
  const leaving = new AbortController()
  let answered = 0
  const flood = Array.from({ length: 30 }, async (_, index) => {
    const url = `${mirror.url}/v2/team/app/referrers/${madeUp(index)}`
    await fetch(url, { signal: leaving.signal }).catch(() => {})
    answered += 1
  })
  await until(() => mirror.app.underWay.requests === flood.length)
  const own = await ask(subject.manifest.digest)
  assert.deepEqual([countOf(own), own.headers.warning], [1, undefined])
  assert.equal(answered, 0, 'it waits for nobody')
  leaving.abort()
  await Promise.all(flood)
  assert.ok(running.most <= 4, `${running.most} at once`)
})

test('an upstream that is silent about digests that somebody makes up: nobody waits for those before', async (t) => {
  const { ask, running } = await start(t, undefined, { config: { 'limits.patience': '2s' } })
  const begin = performance.now()
  const flood = Array.from({ length: 30 }, (_, index) => ask(madeUp(index)))
  for (const answer of await Promise.all(flood)) {
    assert.deepEqual([answer.status, countOf(answer)], [200, 0])
    assert.match(String(answer.headers.warning), /there may be more/)
  }
  assert.ok(performance.now() - begin < 15_000)
  assert.ok(running.most <= 4, `${running.most} at once`)
})

test('thousands of small entries for a digest that somebody makes up: answered each time, and not kept', async (t) => {
  const manifests = Array.from({ length: 5000 }, (_, index) => ({ ...entry, digest: madeUp(index) }))
  const { ask, running } = await start(t, Buffer.from(JSON.stringify({ manifests })))
  for (const asked of [1, 2]) {
    const answer = await ask(madeUp(1))
    assert.deepEqual([answer.status, countOf(answer), answer.headers.warning], [200, 5000, undefined])
    assert.equal(running.asked, asked)
  }
})
