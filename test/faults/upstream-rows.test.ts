// What may go wrong upstream while a blob comes in (F1 to F8, F10), by each way in which its bytes come off a socket.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Pulled } from '../support/client.ts'
import type { Fault } from '../support/hub-faults.ts'
import type { TestBlob } from '../support/images.ts'
import { until } from '../support/settle.ts'
import { type Line, lines, type OpenLine, openLine } from './lines.ts'

function isWhole({ status, digest, isComplete }: Pulled, blob: TestBlob): void {
  assert.deepEqual([status, digest, isComplete], [200, blob.digest, true])
}

/** No client is told that a wrong body is whole, and whoever asks later has the right one. */
async function neverWrong({ blob, pull }: OpenLine): Promise<void> {
  for (const { status, digest, isComplete } of await Promise.all([pull(), pull()]))
    assert.ok(status >= 500 || !isComplete || digest === blob.digest, `${status}, wrong and whole`)
  isWhole(await pull(), blob)
}

function crossedOnce({ hub, blob, inFlight }: OpenLine, cuts: number, twice = 0): void {
  const most = blob.size + cuts * inFlight + twice
  const sent = hub.bytesSent(blob.digest)
  assert.ok(sent <= most, `${sent} bytes crossed the line, of at most ${most}`)
}

for (const line of lines) {
  for (const cutWith of ['rst', 'fin'] as const)
    test(`F1 ${line.name}: it dies mid-blob by ${cutWith} again and again, and no client notices`, async (t) => {
      const open = await openLine(t, line)
      const { hub, blob, matcher, pull } = open
      const cuts = hub.fault(matcher, { cutEvery: Math.ceil(blob.size / 4), cutWith })
      for (const pulled of await Promise.all([pull(), pull()])) isWhole(pulled, blob)
      assert.ok(cuts.hits >= 4)
      crossedOnce(open, cuts.hits)
    })

  test(`F1 ${line.name}: it dies before the first byte and before the last one`, async (t) => {
    const open = await openLine(t, line)
    const { hub, blob, matcher, pull } = open
    hub.fault(matcher, [{ cutAfter: 0 }, { cutAfter: blob.size - 1 }])
    isWhole(await pull(), blob)
    crossedOnce(open, 2)
  })

  for (const [what, where] of Object.entries({ first: 0, middle: 0.5, last: 1 }))
    test(`F3 ${line.name}: the ${what} byte is wrong, once`, async (t) => {
      const open = await openLine(t, line)
      const { hub, blob, matcher } = open
      hub.fault(matcher, { flipAt: Math.floor((blob.size - 1) * where) }, { times: 1 })
      await neverWrong(open)
      crossedOnce(open, 1, blob.size)
    })

  test(`F3 ${line.name}: a byte is wrong each time: nobody has it whole, and nothing of it is kept`, async (t) => {
    const { hub, blob, matcher, pull, mirror } = await openLine(t, line)
    using fault = hub.fault(matcher, { flipAt: blob.size >> 1 })
    for (const { status, isComplete } of await Promise.all([pull(), pull()]))
      assert.ok(status >= 500 || !isComplete)
    await until(() => mirror.app.underWay.fills === 0)
    assert.equal(await mirror.metric('larder_cache_blobs'), 0)
    fault.remove()
    isWhole(await pull(), blob)
  })

  test(`F4 ${line.name}: a body is shorter than it says, then one goes on behind its end`, async (t) => {
    const open = await openLine(t, line)
    const { hub, blob, matcher, pull } = open
    hub.fault(matcher, [{ shortBy: 1000 }, { longerBy: 5000 }])
    if (line.isChunked) return neverWrong(open)
    isWhole(await pull(), blob)
    crossedOnce(open, 2, 5000)
  })

  for (const by of [-1000, 1000])
    test(`F4 ${line.name}: it says ${by} bytes of its length, once`, async (t) => {
      // What is missing at the end is asked for as often as that, with pauses.
      const open = await openLine(t, line, { config: { 'limits.retries': 2 } })
      const { hub, blob, matcher } = open
      hub.fault(matcher, { contentLength: blob.size + by }, { times: 1 })
      await neverWrong(open)
    })

  test(`F5 ${line.name}: whatever it tells of its size, it comes whole, and once`, async (t) => {
    const open = await openLine(t, line)
    const { blob, pull } = open
    for (const pulled of await Promise.all([pull(), pull(), pull()])) isWhole(pulled, blob)
    crossedOnce(open, 0)
    assert.equal((await pull()).headers['content-length'], `${blob.size}`)
  })

  const odd: Readonly<Record<string, (size: number) => Fault>> = {
    'the whole for a range': () => ({ ignoreRange: true }),
    'another total size': () => ({ totalSize: 12_345 }),
    'a range that begins elsewhere': (size) => ({ contentRange: `bytes 5-${size - 1}/${size}` }),
    'a 416': () => ({ status: 416 }),
  }
  for (const [what, fault] of Object.entries(odd))
    test(`F6 ${line.name}: it is cut, and goes on with ${what}`, async (t) => {
      const open = await openLine(t, line)
      const { hub, blob, matcher } = open
      hub.fault(matcher, [{ cutAfter: blob.size >> 1 }, fault(blob.size)])
      await neverWrong(open)
    })

  test(`F7 ${line.name}: it is cut, and what comes behind is of another blob`, async (t) => {
    const open = await openLine(t, line)
    const { hub, blob, matcher } = open
    hub.fault(matcher, [{ cutAfter: blob.size >> 1 }, { flipAt: blob.size - 10 }])
    await neverWrong(open)
    crossedOnce(open, 1, blob.size)
  })

  for (const status of [500, 502, 503, 504])
    test(`F10 ${line.name}: a ${status} with a page, at first and in the middle`, async (t) => {
      const open = await openLine(t, line)
      const { hub, blob, matcher, pull } = open
      hub.fault(matcher, [{ status }, { cutAfter: blob.size >> 1 }, { status }])
      isWhole(await pull(), blob)
      crossedOnce(open, 1)
    })
}

// Each costs seconds, so many that what a busy machine has on its way is no stall: all at once.
test('F2 it stalls before the headers, and in the middle', async (t) => {
  await Promise.all(lines.map((line) => stalls(line)))

  async function stalls(line: Line): Promise<void> {
    const open = await openLine(t, line, { config: { 'limits.stall': '5s' } })
    const { hub, blob, matcher, pull } = open
    const fault = hub.fault(matcher, [{ stallBeforeHeaders: true }, { stallAfter: blob.size >> 1 }])
    isWhole(await pull(), blob)
    assert.equal(fault.hits, 2)
    crossedOnce(open, 1)
  }
})

for (const line of lines.filter(({ isTunnel }) => !isTunnel))
  test(`F8 ${line.name}: its token and its signed address expire in the middle: a fresh one each`, async (t) => {
    const open = await openLine(t, line)
    const { hub, blob, matcher, pull } = open
    hub.fault(matcher, { cutAfter: blob.size >> 1 }, { times: 1 })
    using hold = hub.hold(matcher, blob.size >> 2)
    const pulling = pull()
    await hold.reached
    hub.expireUrls()
    hub.expireTokens()
    hold.release()
    isWhole(await pulling, blob)
    crossedOnce(open, 1)
    assert.equal(hub.count({ listener: 'registry', method: 'GET', path: /blobs/, status: 307 }), 2)
  })
