// An upstream that refuses, leads astray or is not there while a blob comes in (F9, F11 to F15), and what is here already.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { atOnceMs } from '../support/at-once.ts'
import { pull } from '../support/client.ts'
import { buildImage } from '../support/images.ts'
import { until } from '../support/settle.ts'
import { selfSigned } from '../upstream/fixtures.ts'
import { type Line, lines, openLine } from './lines.ts'

const stranger = await selfSigned('IP:127.0.0.1')
const [large, secure, , , small] = lines as [Line, Line, Line, Line, Line]
const inTheOpen = [large, secure, small]

for (const line of inTheOpen) {
  test(`F9 ${line.name}: a 429 when it goes on in the middle: it waits as it is told, and nobody hammers`, async (t) => {
    const { hub, blob, matcher, pull } = await openLine(t, line)
    const asked = { listener: 'registry', path: /\/blobs\// } as const
    hub.fault(matcher, { cutAfter: blob.size >> 1 }, { times: 1 })
    using hold = hub.hold(matcher, blob.size >> 2)
    const pulling = pull()
    await hold.reached
    // The address of its storage is over, so that the registry is asked for another one.
    hub.fault(matcher, { status: 403 }, { times: 1 })
    const limit = hub.fault(asked, { status: 429, retryAfter: 1 }, { times: 1 })
    const before = hub.count(asked)
    hold.release()
    const pulled = await pulling
    assert.deepEqual([pulled.digest, pulled.isComplete], [blob.digest, true])
    assert.equal(limit.hits, 1)
    assert.ok(hub.count(asked) - before <= 3)
    assert.equal(hub.bytesSent(blob.digest), blob.size)
  })

  test(`F11 ${line.name}: nobody is there any more in the middle, and then again: it goes on`, async (t) => {
    const { hub, blob, matcher, inFlight, pull } = await openLine(t, line)
    using hold = hub.hold(matcher, blob.size >> 1)
    const pulling = pull()
    await hold.reached
    await hub.stop()
    hold.release()
    await hub.start()
    const pulled = await pulling
    assert.deepEqual([pulled.digest, pulled.isComplete], [blob.digest, true])
    // What the hub had handed to its kernel is counted, and was reset.
    assert.ok(hub.bytesSent(blob.digest) <= blob.size + Math.max(inFlight, 256 * 1024))
  })

  for (const redirectTo of [
    'file:///etc/passwd',
    'http://169.254.169.254/latest',
    'ftp://127.0.0.1/x',
    undefined,
  ])
    test(`F13 ${line.name}: the registry leads on to ${redirectTo ?? 'itself'}: refused, and well again later`, async (t) => {
      const { hub, blob, pull } = await openLine(t, line)
      const asked = { listener: 'registry', path: /\/blobs\// } as const
      using fault = hub.fault(asked, redirectTo ? { redirectTo } : { redirectLoop: true })
      const { status, text } = await pull()
      assert.ok(status >= 500 && status < 600, `${status} ${text}`)
      assert.doesNotMatch(text, /root:/)
      assert.equal(hub.bytesSent(blob.digest), 0)
      fault.remove()
      assert.equal((await pull()).digest, blob.digest)
    })

  test(`F14 ${line.name}: the upstream is gone for good: what was pulled comes, at once, also by its tag`, async (t) => {
    const { hub, blob, mirror } = await openLine(t, line)
    const image = buildImage({ layers: [blob] })
    hub.addImage('library/app', 'latest', image)
    const all = ['manifests/latest', ...[image.config, blob].map(({ digest }) => `blobs/${digest}`)]
    const pullAll = () => Promise.all(all.map((path) => pull(`${mirror.url}/v2/library/app/${path}`)))
    await pullAll()
    await until(() => mirror.app.underWay.fills === 0)
    await hub.stop()
    for (const { status, isComplete, firstByteMs = 0 } of await pullAll()) {
      assert.deepEqual([status, isComplete], [200, true])
      assert.ok(firstByteMs < atOnceMs)
    }
    const other = await pull(`${mirror.url}/v2/library/other/manifests/latest`)
    assert.ok(other.status >= 500 && other.totalMs < 5000)
  })

  test(`F15 ${line.name}: the clock jumps by ten years and back while it comes`, async (t) => {
    const { hub, blob, matcher, mirror, pull } = await openLine(t, line)
    hub.fault(matcher, { cutAfter: blob.size >> 1 }, { times: 1 })
    using hold = hub.hold(matcher, blob.size >> 2)
    const pulling = pull()
    await hold.reached
    const now = Date.now()
    t.mock.timers.enable({ apis: ['Date'], now: now + 10 * 365 * 86_400_000 })
    hold.release()
    const pulled = await pulling
    assert.deepEqual([pulled.digest, pulled.isComplete], [blob.digest, true])
    await until(() => mirror.app.underWay.fills === 0)
    t.mock.timers.setTime(now)
    assert.equal((await pull()).headers['x-larder-cache'], 'hit')
    assert.equal(hub.bytesSent(blob.digest), blob.size)
  })
}

for (const line of lines.filter(({ isSecure }) => isSecure))
  test(`F12 ${line.name}: nobody whom we trust has signed for it: not a byte is asked for`, async (t) => {
    const { hub, pull } = await openLine(t, line, { authority: stranger.cert })
    const { status, text } = await pull()
    assert.ok(status >= 500, `${status}`)
    assert.match(text, /certificate/)
    assert.equal(hub.count(), 0)
  })
