/**
 * Pulls out of requests. Thought of, and tested here: Docker's way (HEAD of the tag, then everything by digest) and
 * podman's (GET of the tag); a multi-platform index and one platform below it; layers that the client has and skips;
 * layers that two images share; two images of one repository at once; two clients; two behind one address; checks by
 * HEAD alone; a manifest that nobody follows up; parallel ranges that are closed early; a client that leaves, within
 * a blob and between; a blob that fails and is had at the second try; a missing tag, a missing signature; a second
 * pull of the same image; a pull that pauses; a blob without a manifest; a manifest that cannot be read; a
 * stop in the middle. Its bounds have a file of their own.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { buildImage, buildIndex, type TestBlob } from '../support/images.ts'
import { beginLedger, idleMs } from './ledger-fixture.ts'

const image = buildImage({ layers: [1000, 2000, 3000] })
const [first, second, third] = image.layers as [TestBlob, TestBlob, TestBlob]
const imageBytes = image.manifest.size + image.config.size + 6000

const head = { asked: { isHead: true } }

test('a pull as Docker does it: one line as soon as the last blob was sent, with the name of the tag', (t) => {
  const { pulls, manifest, blob, pullAll } = beginLedger(t)
  manifest('latest', image, head)()
  manifest(image.manifest.digest, image)()
  pullAll({ ...image, layers: [first, second] })
  assert.equal(pulls.length, 0)
  blob(third, { answer: { cache: 'joined' } })()
  assert.deepEqual(pulls, [
    {
      client: '10.0.0.1',
      agent: 'docker/29.1.3',
      upstream: 'docker.io',
      repository: 'library/app',
      reference: 'latest',
      digest: image.manifest.digest,
      bytes: imageBytes,
      cachedBytes: image.manifest.size,
      joinedBytes: 3000,
      lineBytes: image.config.size + 3000,
      ms: 60,
      outcome: 'finished',
      reason: undefined,
      isRefusal: false,
    },
  ])
})

test('an index and the manifest of one platform are one pull, with the name of the tag', (t) => {
  const { pulls, manifest, pullAll } = beginLedger(t)
  const arm = buildImage({ seed: 'arm', platform: { os: 'linux', architecture: 'arm64' } })
  const index = buildIndex([image, arm])
  manifest('1.0', index)()
  manifest(image.manifest.digest, image)()
  pullAll(image)
  assert.deepEqual(
    pulls.map(({ reference, digest, bytes, outcome }) => [reference, digest, bytes, outcome]),
    [['1.0', index.manifest.digest, imageBytes + index.manifest.size, 'finished']],
  )
})

test('layers that the client skips: the pull ends when nothing was asked for in a while', (t) => {
  const { pulls, manifest, blob, tick } = beginLedger(t)
  manifest('latest', image)()
  blob(image.config)()
  blob(third)()
  tick(idleMs - 1)
  assert.equal(pulls.length, 0)
  tick(idleMs)
  assert.deepEqual(
    pulls.map(({ outcome, bytes }) => [outcome, bytes]),
    [['finished', image.manifest.size + image.config.size + 3000]],
  )
  tick(100 * idleMs)
  assert.equal(pulls.length, 1)
})

test('a blob that takes longer than that is still part of the pull', (t) => {
  const { pulls, manifest, blob, tick } = beginLedger(t)
  manifest('latest', image)()
  const slow = blob(third)
  tick(10 * idleMs)
  assert.equal(pulls.length, 0)
  slow()
  tick(2 * idleMs)
  assert.deepEqual([pulls.length, pulls[0]?.bytes], [1, image.manifest.size + 3000])
})

test('checks that ask by HEAD alone, and a manifest that nobody follows up, are no pulls', (t) => {
  const { pulls, manifest, ask, tick } = beginLedger(t)
  manifest('latest', image, head)()
  ask({ kind: 'blob', reference: first.digest, isHead: true })()
  tick(2 * idleMs)
  manifest('latest', image)()
  tick(2 * idleMs)
  assert.deepEqual(pulls, [])
})

test('two images of one repository at once, with a layer that they share: two pulls', (t) => {
  const { pulls, manifest, blob, tick } = beginLedger(t)
  const other = buildImage({ layers: [first, 4000], seed: 'other' })
  manifest('1', image)()
  manifest('2', other)()
  for (const body of [image.config, other.config, first, second, third, ...other.layers.slice(1)])
    blob(body)()
  tick(2 * idleMs)
  assert.deepEqual(pulls.map(({ reference, outcome }) => [reference, outcome]).sort(), [
    ['1', 'finished'],
    ['2', 'finished'],
  ])
  const total = pulls.reduce((sum, { bytes }) => sum + bytes, 0)
  assert.equal(total, imageBytes + other.manifest.size + other.config.size + 4000)
})

test('a layer that is named twice is sent once', (t) => {
  const { pulls, manifest, pullAll } = beginLedger(t)
  const twice = buildImage({ layers: [first.bytes, second.bytes, first.bytes] })
  manifest('latest', twice)()
  pullAll({ ...twice, layers: [first, second] })
  assert.deepEqual(
    pulls.map(({ outcome }) => outcome),
    ['finished'],
  )
})

test('layers that were sent before their manifest was asked for are not missing', (t) => {
  const { pulls, manifest, pullAll } = beginLedger(t)
  manifest('latest', image, head)()
  pullAll(image)
  assert.equal(pulls.length, 0)
  manifest('latest', image)()
  assert.equal(pulls.length, 1)
})

test('two clients, and two repositories, are told apart; two behind one address are one pull', (t) => {
  const { pulls, manifest, pullAll } = beginLedger(t)
  const places = [{}, { client: '10.0.0.2' }, { repository: 'library/other' }, { upstream: 'ghcr.io' }]
  for (const asked of places) manifest('latest', image, { asked })()
  for (const asked of places) pullAll(image, { asked })
  assert.equal(pulls.length, 4)
  const meanwhile = manifest('latest', image)
  manifest('latest', image)()
  meanwhile()
  pullAll(image)
  assert.equal(pulls.length, 5)
})

test('ranges that are closed early make the blob whole together: finished, not left', (t) => {
  const { pulls, manifest, blob, pullAll } = beginLedger(t)
  manifest('latest', image)()
  pullAll({ ...image, layers: [first, second] })
  const range = (start: number, bytes: number, ending: 'left' | 'complete') =>
    blob(third, { answer: { status: 206, ending, bytes, blob: { size: 3000, start } } })
  const parts = [range(0, 1100, 'left'), range(1000, 1100, 'left'), range(2000, 1000, 'complete')]
  for (const part of parts) part()
  assert.deepEqual(
    pulls.map(({ outcome }) => outcome),
    ['finished'],
  )
})

test('who asks for several parts at once reads what it needs: finished when it rests, and the bytes are counted', (t) => {
  const { pulls, manifest, blob, pullAll, tick } = beginLedger(t)
  manifest('latest', image)()
  pullAll({ ...image, layers: [first, second] })
  blob(third, { answer: { status: 206, bytes: 3000, blob: { size: 3000, start: undefined } } })()
  assert.equal(pulls.length, 0)
  tick(2 * idleMs)
  assert.deepEqual(
    pulls.map(({ outcome, reason }) => [outcome, reason]),
    [['finished', undefined]],
  )
  assert.ok((pulls[0]?.bytes ?? 0) > 3000)
})

test('a client that leaves in the middle of a blob did not finish', (t) => {
  const { pulls, manifest, blob, tick } = beginLedger(t)
  manifest('latest', image)()
  blob(image.config)()
  blob(third, { answer: { ending: 'left', bytes: 1000 } })()
  // All was handed over, and nobody knows how much of the last buffer was taken.
  blob(second, { answer: { ending: 'left', bytes: 2000, pendingBytes: 2000 } })()
  tick(2 * idleMs)
  assert.deepEqual(
    pulls.map(({ outcome, reason }) => [outcome, reason]),
    [['left', 'the client left']],
  )
})

test('a blob that breaks off and is had at the next try does no harm; one that is not, does', (t) => {
  const { pulls, manifest, blob, tick } = beginLedger(t)
  const broken = { answer: { ending: 'broken', bytes: 10, reason: 'docker.io: it stalled' } } as const
  manifest('latest', image)()
  blob(third, broken)()
  blob(third)()
  tick(2 * idleMs)
  manifest('latest', image)()
  blob(first, broken)()
  blob(third)()
  tick(2 * idleMs)
  assert.deepEqual(
    pulls.map(({ outcome, reason, isRefusal }) => [outcome, reason, isRefusal]),
    [
      ['finished', undefined, false],
      ['failed', 'docker.io: it stalled', false],
    ],
  )
})

test('a client whose connections were closed did not finish what it lacks; what was whole, was before or is of others did', (t) => {
  const { pulls, manifest, blob, pullAll, tick, letGo } = beginLedger(t)
  const other = { asked: { client: '10.0.0.2' } }
  const outcomes = () =>
    pulls
      .splice(0)
      .map(({ client, outcome, reason }) => [client, outcome, reason])
      .sort()
  manifest('latest', image)()
  blob(third)()
  manifest('latest', image, other)()
  blob(third, other)()
  letGo()
  tick(2 * idleMs)
  assert.deepEqual(outcomes(), [
    ['10.0.0.1', 'failed', 'too many connections'],
    ['10.0.0.2', 'finished', undefined],
  ])
  manifest('latest', image)()
  letGo()
  blob(third, { answer: { ending: 'left', bytes: 1000 } })()
  tick(2 * idleMs)
  assert.deepEqual(outcomes(), [['10.0.0.1', 'failed', 'too many connections']])
  manifest('latest', image)()
  letGo()
  pullAll(image)
  assert.deepEqual(outcomes(), [['10.0.0.1', 'finished', undefined]])
  manifest('latest', image)()
  blob(third)()
  tick(2 * idleMs)
  assert.deepEqual(outcomes(), [['10.0.0.1', 'finished', undefined]])
})

test('a manifest that is not to be had is a pull that failed; a signature that is not there is none', (t) => {
  const { pulls, ask, tick } = beginLedger(t)
  const missing = { status: 404, reason: 'docker.io: it does not have this', bytes: 90 }
  ask({ kind: 'manifest', reference: 'nothing' }, missing)()
  ask({ kind: 'manifest', reference: `sha256-${'0'.repeat(64)}.sig` }, missing)()
  ask({ kind: 'manifest', reference: 'away' }, { status: 503, reason: 'docker.io: it cannot be reached' })()
  tick(2 * idleMs)
  assert.deepEqual(
    pulls.map(({ reference, outcome, isRefusal, bytes }) => [reference, outcome, isRefusal, bytes]),
    [
      ['nothing', 'failed', true, 0],
      ['away', 'failed', false, 0],
    ],
  )
})

test('blobs of no manifest that are not there are no pull; one that a manifest names is a pull that failed', (t) => {
  const { pulls, manifest, blob, tick } = beginLedger(t)
  const missing = { answer: { status: 404, reason: 'docker.io: it does not have this', blob: undefined } }
  blob(first, missing)()
  blob(second, missing)()
  tick(2 * idleMs)
  assert.deepEqual(pulls, [])
  blob(first, missing)()
  blob(third)()
  tick(2 * idleMs)
  assert.deepEqual(
    pulls.splice(0).map(({ outcome, isRefusal }) => [outcome, isRefusal]),
    [['failed', true]],
  )
  manifest('latest', image)()
  blob(first, missing)()
  tick(2 * idleMs)
  assert.deepEqual(
    pulls.map(({ outcome, isRefusal }) => [outcome, isRefusal]),
    [['failed', false]],
  )
})

test('a second pull of the same image soon after is told anew, and whole', (t) => {
  const { pulls, manifest, pullAll } = beginLedger(t)
  for (const cache of ['miss', 'hit'] as const) {
    manifest('latest', image, head)()
    manifest(image.manifest.digest, image)()
    pullAll(image, { answer: { cache } })
  }
  assert.deepEqual(
    pulls.map(({ bytes, lineBytes, ms }) => [bytes, lineBytes, ms]),
    [
      [imageBytes, imageBytes - image.manifest.size, 60],
      [imageBytes, 0, 60],
    ],
  )
})

test('a pull that pauses goes on under its name', (t) => {
  const { pulls, manifest, blob, tick } = beginLedger(t)
  manifest('latest', image)()
  blob(first)()
  tick(3 * idleMs)
  blob(second)()
  blob(third)()
  tick(3 * idleMs)
  assert.deepEqual(
    pulls.map(({ reference, bytes }) => [reference, bytes]),
    [
      ['latest', image.manifest.size + 1000],
      ['latest', 5000],
    ],
  )
})

test('blobs without a manifest, and a manifest that cannot be read', (t) => {
  const { pulls, manifest, blob, tick } = beginLedger(t)
  blob(first)()
  tick(2 * idleMs)
  const garbled = { ...image.manifest, bytes: Buffer.from('{') }
  manifest('latest', { manifest: garbled })()
  blob(second)()
  tick(2 * idleMs)
  assert.deepEqual(
    pulls.map(({ reference, outcome }) => [reference, outcome]),
    [
      [undefined, 'finished'],
      ['latest', 'finished'],
    ],
  )
})

test('the end of the mirror tells what is open: a pull that lacks layers was stopped, a whole one finished', (t) => {
  const { ledger, pulls, manifest, blob, pullAll, tick } = beginLedger(t)
  const by = (last: number) => ({ asked: { client: `10.0.0.${last}` } })
  // Told before: by silence, its client has the rest.
  manifest('latest', image, by(3))()
  blob(first, by(3))()
  tick(2 * idleMs)
  // Between two layers, as a client is whose running ones were still sent.
  manifest('latest', image, by(1))()
  blob(first, by(1))()
  manifest('1', image, by(2))()
  const running = blob(third, by(2))
  manifest('latest', image, by(4))()
  pullAll(image, by(4))
  blob(first, by(5))()
  ledger[Symbol.dispose]()
  running()
  assert.deepEqual(pulls.map(({ client, outcome, reason }) => [client, outcome, reason]).sort(), [
    ['10.0.0.1', 'stopped', 'the mirror stopped'],
    ['10.0.0.2', 'stopped', 'the mirror stopped'],
    ['10.0.0.3', 'finished', undefined],
    ['10.0.0.4', 'finished', undefined],
    ['10.0.0.5', 'finished', undefined],
  ])
})
