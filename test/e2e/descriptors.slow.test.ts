/**
 * 200 clients at once of a mirror that may have 64 files and connections open, of which 37 always are. Thought of: blobs
 * that are on their way in, stored, and pushed; no body that is cut or wrong; nobody who is left without an answer, or
 * with one that does not say when to come again; that the upstream is not taken for dead because of it; that all is given
 * back; and that whoever asks how the mirror is hears so meanwhile.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { blobOf, buildImage, pseudoRandomBytes } from '../support/images.ts'
import { meets } from '../support/programs.ts'
import { send } from '../support/push.ts'
import { until } from '../support/settle.ts'
import { type LarderProcess, startLarder } from './support/larder-process.ts'

const clients = 200
const limit = 64
const imageCount = 12

type Answer = { readonly status: number; readonly headers: Record<string, unknown> }

/** What became of all questions of a round. */
type Tally = { told: number; closed: number }

/** Asks until it is served, as often as it is told to come again. */
async function insist<Kind extends Answer>(tally: Tally, ask: () => Promise<Kind>): Promise<Kind> {
  for (let tries = 0; tries < 100; tries += 1) {
    const answer = await ask().catch((error: NodeJS.ErrnoException) => {
      // No answer at all, which is what happens to nearly everybody where nothing is held back: it says EPIPE where the
      // connection had ended before a body was sent.
      assert.ok(error.code === 'ECONNRESET' || error.code === 'EPIPE', error.code)
      tally.closed += 1
      return undefined
    })
    if (answer && answer.status !== 503 && answer.status !== 429) return answer
    if (answer) tally.told += 1
    const seconds = Number(answer?.headers['retry-after'] ?? (answer ? Number.NaN : 1))
    assert.ok(seconds >= 1 && seconds <= 10, `it is said when to come again: ${seconds}`)
    await sleep(seconds * 1000)
  }
  assert.fail('never served')
}

async function stage(t: TestContext) {
  await using all = new AsyncDisposableStack()
  const hub = all.use(await startDockerHub())
  const images = Array.from({ length: imageCount }, (_, n) => {
    const image = buildImage({ layers: [pseudoRandomBytes(500_000, `layer ${n}`)], seed: n })
    hub.addImage(`library/app${n}`, 'v1', image)
    return image
  })
  const mirror = all.use(
    await startLarder({
      upstreams: [{ name: 'docker.io', url: hub.url }],
      by: [['prlimit', `--nofile=${limit}`]],
    }),
  )
  const owned = all.move()
  t.after(() => owned.disposeAsync())
  return { mirror, images }
}

/** Has all clients do the same at once, and says what it took. */
async function round(
  t: TestContext,
  mirror: LarderProcess,
  what: string,
  work: (n: number, tally: Tally) => Promise<void>,
) {
  const tally: Tally = { told: 0, closed: 0 }
  const startedAt = performance.now()
  const working = Promise.all(Array.from({ length: clients }, (_, n) => work(n, tally)))
  const health = await insist({ told: 0, closed: 0 }, () => send('GET', `${mirror.url}/readyz`))
  assert.equal(health.status, 200)
  await working
  const ms = Math.round(performance.now() - startedAt)
  t.diagnostic(
    `${what}: ${clients} served in ${ms} ms, told to come again ${tally.told}, closed ${tally.closed}`,
  )
  assert.ok(tally.closed < clients / 10, `${tally.closed} were closed without a word`)
  // What is kept open for a moment (connections to the upstream, files of uploads) goes by itself or when it is needed.
  await until(async () => (await mirror.metric('process_open_fds')) < limit - 12, { timeoutMs: 10_000 })
}

test(`${clients} clients, and ${limit} descriptors: everybody is served in the end`, {
  timeout: 180_000,
}, async (t) => {
  if (!meets(t, { programs: ['prlimit'] })) return
  const startedAt = performance.now()
  const { mirror, images } = await stage(t)
  assert.equal(await mirror.metric('process_max_fds'), limit)
  const pullOne = async (n: number, tally: Tally): Promise<void> => {
    const image = images[n % images.length]
    const [layer] = image?.layers ?? []
    assert.ok(image && layer)
    const repository = `${mirror.url}/v2/library/app${n % images.length}`
    for (const [path, { digest }] of [
      ['manifests/v1', image.manifest],
      [`blobs/${layer.digest}`, layer],
    ] as const) {
      const pulled = await insist(tally, () => pull(`${repository}/${path}`))
      assert.deepEqual([pulled.status, pulled.isComplete, pulled.digest], [200, true, digest])
    }
  }
  await round(t, mirror, 'cold', pullOne)
  await round(t, mirror, 'warm', pullOne)
  await round(t, mirror, 'pushed', async (n, tally) => {
    const { digest, bytes } = blobOf(pseudoRandomBytes(100_000, `push ${n}`))
    const repository = `${mirror.url}/v2/local/app${n}`
    const begun = await insist(tally, () => send('POST', `${repository}/blobs/uploads/`))
    assert.equal(begun.status, 202, begun.text)
    const upload = new URL(String(begun.headers.location), repository).href
    const patched = await insist(tally, () => send('PATCH', upload, { body: bytes }))
    // It was whole when it was told to come again, or was not begun.
    assert.ok([202, 416].includes(patched.status), patched.text)
    const put = await insist(tally, () => send('PUT', `${upload}?digest=${digest}`))
    assert.equal(put.status, 201, put.text)
  })
  for (let n = 0; n < imageCount; n += 1) await pullOne(n, { told: 0, closed: 0 })
  const lines = mirror.log()
  assert.doesNotMatch(lines, /upstream cannot be reached/)
  assert.doesNotMatch(lines, /"level":"error"/)
  assert.match(lines, /few files and connections may be open at a time/)
  const minutes = Math.ceil((performance.now() - startedAt) / 60_000)
  const told = lines.match(/more are told to come again/g)?.length ?? 0
  assert.ok(told >= 1 && told <= minutes, `one line a minute: ${told} in ${minutes}`)
})
