// What a mirror starts ends with it. Thought of: nothing under way; in the middle of a download, of one without a client, of
// questions for a manifest, a token and a list, of a push, of the hashing of a stored file, of the count of what is stored;
// timers, threads, sockets, files, descriptors.
import assert from 'node:assert/strict'
import { createHook } from 'node:async_hooks'
import { mkdtemp, readdir, rm, utimes } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { pull } from './support/client.ts'
import { startDockerHub } from './support/docker-hub.ts'
import { buildImage, pseudoRandomBytes } from './support/images.ts'
import { startMirror, type TestMirror } from './support/mirror.ts'
import { beginUpload, pushImage, send } from './support/push.ts'

const rounds = 20
/** Descriptors that Node itself opens at the first use of something. */
const oncePerProcess = 3
/** What takes a moment to be noticed as closed, such as the other ends of sockets in this process. */
const settleMs = 5000
/** Of what Node creates, what somebody has to end; files are counted by their descriptors. */
const counted = new Set(['Timeout', 'TCPWRAP', 'TCPSERVERWRAP', 'PIPEWRAP', 'WORKER', 'MESSAGEPORT'])

/** Where each thing of these kinds that is alive was made, timers that keep no process alive included. */
function watchResources(t: TestContext): () => string[] {
  const alive = new Map<number, string>()
  const hook = createHook({
    init: (id, type) => {
      if (counted.has(type)) alive.set(id, `${type} ${new Error().stack}`)
    },
    destroy: (id) => {
      alive.delete(id)
    },
  }).enable()
  t.after(() => hook.disable())
  // The clock of a client that this test plays runs until its signal is collected.
  return () => [...alive.values()].filter((made) => !made.includes('test/support/client.ts'))
}

async function descriptors(): Promise<number> {
  return (await readdir('/proc/self/fd')).length
}

type Work = (mirror: TestMirror) => Promise<void>

/** Starts and stops a mirror again and again, in the middle of `work`: nothing more is left after each. */
async function assertEnds(t: TestContext, options: { upstream: string; work: Work }): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'larder-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const resources = watchResources(t)
  const before = await descriptors()
  for (let round = 0; round < rounds; round += 1) {
    const config = { 'server.shutdownGrace': '10ms' }
    const mirror = await startMirror({ upstream: options.upstream, directory, config })
    await options.work(mirror)
    await mirror[Symbol.asyncDispose]()
  }
  // No timer of this test's own.
  for (const end = performance.now() + settleMs; performance.now() < end; ) {
    await new Promise(setImmediate)
    if (resources().length === 0 && (await descriptors()) <= before + oncePerProcess) return
  }
  assert.deepEqual(resources(), [])
  assert.ok((await descriptors()) <= before + oncePerProcess)
}

test('started and stopped twenty times: nothing is left', { timeout: 120_000 }, async (t) => {
  await using hub = await startDockerHub()
  await assertEnds(t, { upstream: hub.url, work: async () => {} })
})

test('stopped twenty times in the middle of everything: nothing is left', { timeout: 120_000 }, async (t) => {
  await using hub = await startDockerHub()
  const own = buildImage({ layers: [1000, 3_000_000], seed: 'own' })
  let number = 0
  const work: Work = async ({ url, directory }) => {
    number += 1
    const blob = hub.addBlob('library/app', pseudoRandomBytes(1_000_000, `blob ${number}`))
    hub.addImage('library/app', `tag-${number}`, buildImage({ layers: [100], seed: `${number}` }))
    using hold = hub.hold({ listener: 'cdn', digest: blob.digest }, 500_000)
    const [, big] = own.layers
    if (number === 1) await pushImage(`${url}/v2/own`, 'v1', own)
    else {
      // As a copy of the folder that was put back: it is hashed again.
      const hex = big?.digest.slice(7) ?? ''
      await utimes(join(directory, 'blobs/sha256', hex.slice(0, 2), hex), number, number)
    }
    const begun = Promise.withResolvers<void>()
    const ends = [
      pull(`${url}/v2/library/app/blobs/${blob.digest}`, { onBytes: () => begun.resolve() }),
      pull(`${url}/v2/library/app/blobs/${blob.digest}`),
      pull(`${url}/v2/own/blobs/${big?.digest}`, { headers: { range: 'bytes=5-99' } }),
    ]
    await begun.promise
    const stalls = [
      hub.fault({ listener: 'registry', path: /manifests|tags/ }, { stallBeforeHeaders: true }),
      hub.fault({ listener: 'token' }, { stallBeforeHeaders: true }),
    ]
    const upload = await beginUpload(`${url}/v2/own`)
    async function* half() {
      yield Buffer.alloc(100_000)
      await hold.reached
      yield Buffer.alloc(100_000)
      await Promise.allSettled(ends)
    }
    const questions = [
      pull(`${url}/v2/library/app/manifests/tag-${number}`),
      pull(`${url}/v2/library/app/tags/list`),
      pull(`${url}/v2/library/other-${number}/manifests/latest`),
      send('PATCH', upload, { body: half() }),
    ]
    for (const each of [...ends, ...questions]) each.catch(() => {})
    await hold.reached
    t.after(() => Promise.allSettled([...ends, ...questions]))
    // They are answered once the mirror is gone.
    setImmediate(
      () => void Promise.allSettled([...ends, ...questions]).then(() => stalls.map((one) => one.remove())),
    )
  }
  await assertEnds(t, { upstream: hub.url, work })
})
