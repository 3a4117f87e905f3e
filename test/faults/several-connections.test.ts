// What may go wrong upstream while several connections bring a blob (F1, F2, F6, F8): each of them has its own limit, so
// that further ones help.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type Pulled, pull } from '../support/client.ts'
import type { Fault } from '../support/hub-faults.ts'
import { buildImage, type TestBlob } from '../support/images.ts'
import { type LineOptions, lines, type OpenLine, openLine } from './lines.ts'

const size = 16 * 1024 * 1024
const capped: Fault = { bytesPerSecond: 1_500_000 }
const [plain, secure] = lines

/** A line on which one connection is slow, and several are not. */
async function openCapped(
  t: TestContext,
  line = plain,
  config: LineOptions['config'] = {},
): Promise<OpenLine> {
  if (!line) throw new Error('there is no such line')
  const open = await openLine(t, line, { size, config: { 'limits.stall': '10m', ...config } })
  open.hub.fault(open.matcher, capped)
  // A manifest tells the size, as clients ask for it first: what nobody tells the size of comes by one connection.
  open.hub.addImage('library/app', 'named', buildImage({ layers: [open.blob.bytes] }))
  await pull(`${open.mirror.url}/v2/library/app/manifests/named`)
  return open
}

function isWhole({ status, digest, isComplete }: Pulled, blob: TestBlob): void {
  assert.deepEqual([status, digest, isComplete], [200, blob.digest, true])
}

/**
 * By several connections, and not twice: what lies in the kernel where one ends before its answer does is much on a machine
 * that is busy. The simulation of fills counts to the byte.
 */
function crossedInParts({ hub, blob, matcher }: OpenLine): void {
  assert.ok(hub.count(matcher) > 2, 'one connection brought all of it')
  const sent = hub.bytesSent(blob.digest)
  assert.ok(sent <= 2 * blob.size, `${sent} bytes crossed the line for ${blob.size}`)
}

for (const line of [plain, secure])
  test(`F1 several connections, ${line?.name}: fifty cuts, and no client notices`, async (t) => {
    const open = await openCapped(t, line)
    const { hub, blob, matcher, pull: pullBlob } = open
    const cuts = hub.fault(matcher, { cutEvery: Math.ceil(size / 51) })
    for (const pulled of await Promise.all([pullBlob(), pullBlob()])) isWhole(pulled, blob)
    assert.ok(cuts.hits >= 50, `${cuts.hits} cuts`)
    crossedInParts(open)
  })

test('F2 several connections: one of them stalls, and another one brings the rest of its span', async (t) => {
  // No watchdog ends it, so that without the other one it would take ten minutes.
  const open = await openCapped(t)
  const { hub, blob, matcher, pull: pullBlob } = open
  const fault = hub.fault(matcher, [capped, capped, { stallAfter: 50_000 }])
  isWhole(await pullBlob(), blob)
  assert.equal(fault.hits, 3)
  crossedInParts(open)
})

test('F6 several connections: from the third answer on all of the blob comes for a range', async (t) => {
  const open = await openCapped(t)
  const { hub, blob, matcher, pull: pullBlob } = open
  hub.fault(matcher, [capped, capped, ...Array.from({ length: 100 }, () => ({ ignoreRange: true }))])
  for (const pulled of await Promise.all([pullBlob(), pullBlob()])) isWhole(pulled, blob)
  assert.ok(hub.count(matcher) < 50, `${hub.count(matcher)} questions`)
})

test('F8 several connections: the signed address expires while they use it: a fresh one, and not one each', async (t) => {
  const open = await openCapped(t)
  const { hub, blob, matcher, pull: pullBlob } = open
  hub.fault(matcher, { cutEvery: 1024 * 1024 })
  using hold = hub.hold(matcher, size >> 1)
  const pulling = pullBlob()
  await hold.reached
  hub.expireUrls()
  hub.expireTokens()
  hold.release()
  isWhole(await pulling, blob)
  crossedInParts(open)
  const redirects = hub.count({ listener: 'registry', method: 'GET', path: /blobs/, status: 307 })
  assert.ok(redirects >= 2, `${redirects} redirects`)
  assert.ok(redirects < hub.count(matcher), `${redirects} redirects for ${hub.count(matcher)} spans`)
})
