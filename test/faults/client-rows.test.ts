// What clients do while a blob comes in (F16 to F19), by each way in which its bytes come off a socket.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { until } from '../support/settle.ts'
import { lines, openLine } from './lines.ts'

for (const line of lines) {
  test(`F16 ${line.name}: the first client leaves in the middle, and nobody else notices`, async (t) => {
    const { hub, blob, matcher, pull } = await openLine(t, line)
    using hold = hub.hold(matcher, blob.size >> 1)
    const first = pull({ leaveAfter: 1 })
    await hold.reached
    const others = [pull(), pull(), pull({ leaveAfter: blob.size >> 2 })]
    // Of a small blob nobody has a byte before it is verified.
    if (line.size > 1_000_000) await first
    hold.release()
    const [one, other] = await Promise.all(others)
    await first
    assert.deepEqual([one?.digest, other?.digest], [blob.digest, blob.digest])
    assert.equal(hub.bytesSent(blob.digest), blob.size)
  })

  test(`F17 ${line.name}: all clients leave: it comes all the same, once, and nothing is held`, async (t) => {
    const { hub, blob, matcher, mirror, pull } = await openLine(t, line)
    using hold = hub.hold(matcher, blob.size >> 1)
    const leaving = Array.from({ length: 5 }, (_, n) => pull({ leaveAfter: 1 + n * 1000 }))
    await hold.reached
    if (line.size > 1_000_000) await Promise.all(leaving)
    hold.release()
    await Promise.all(leaving)
    await until(() => mirror.app.underWay.fills === 0)
    const next = await pull()
    assert.deepEqual([next.digest, next.headers['x-larder-cache']], [blob.digest, 'hit'])
    assert.equal(hub.bytesSent(blob.digest), blob.size)
    await until(async () => (await mirror.metric('larder_transfer_buffers_bytes')) === 0)
  })

  // More than the sockets on the way can hold.
  test(`F18 ${line.name}: who takes nothing slows neither the fill nor the others, and gets all in the end`, async (t) => {
    const { hub, blob, mirror, pull } = await openLine(t, line, { size: 16 * 1024 * 1024 })
    const slow = await fetch(`${mirror.url}/v2/library/app/blobs/${blob.digest}`)
    for (const { digest } of await Promise.all([pull(), pull(), pull()])) assert.equal(digest, blob.digest)
    await until(() => mirror.app.underWay.fills === 0)
    assert.equal(hub.bytesSent(blob.digest), blob.size)
    const bytes = new Uint8Array(await slow.arrayBuffer())
    assert.ok(Buffer.from(bytes).equals(blob.bytes))
  })

  test(`F19 ${line.name}: 50 clients, 8 ranges and a HEAD at once: one question upstream, each byte once`, async (t) => {
    const { hub, blob, matcher, mirror } = await openLine(t, line)
    const url = `${mirror.url}/v2/library/app/blobs/${blob.digest}`
    using hold = hub.hold(matcher, blob.size >> 1)
    const whole = Array.from({ length: 50 }, () => pull(url))
    const part = Math.ceil(blob.size / 8)
    const ranges = Array.from({ length: 8 }, (_, n) => {
      const end = Math.min(blob.size, (n + 1) * part) - 1
      return pull(url, { headers: { range: `bytes=${n * part}-${end}` } })
    })
    await hold.reached
    const head = pull(url, { method: 'HEAD' })
    hold.release()
    for (const pulled of await Promise.all(whole))
      assert.deepEqual([pulled.status, pulled.digest, pulled.isComplete], [200, blob.digest, true])
    for (const { status, isComplete } of await Promise.all(ranges))
      assert.deepEqual([status, isComplete], [206, true])
    assert.equal((await head).headers['content-length'], `${blob.size}`)
    assert.equal(hub.count(matcher), 1)
    assert.equal(hub.bytesSent(blob.digest), blob.size)
  })
}
