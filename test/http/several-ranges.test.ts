/**
 * Several ranges of a blob in one answer, as clients of zstd:chunked images and lazy-pulling snapshotters ask for them.
 * Thought of: what is stored, on its way and asked for first; parts that overlap, touch, lie outside, come in any order,
 * are many or more than all; that an answer to HEAD, If-Range and If-None-Match is what it was.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage, pseudoRandomBytes } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { askRanges, type Part } from '../support/multipart.ts'
import { until } from '../support/settle.ts'

const mebibyte = 1024 * 1024
const size = 3 * mebibyte
const content = pseudoRandomBytes(size, 'parts')
const image = buildImage({ layers: [content] })

/** A mirror that knows of the blob, by its manifest, and has nothing of it. */
async function start(t: TestContext, config: Readonly<Record<string, unknown>> = {}) {
  const all = new AsyncDisposableStack()
  t.after(() => all.disposeAsync())
  const hub = all.use(await startDockerHub())
  hub.addImage('library/app', 'latest', image)
  const [layer] = image.layers
  assert.ok(layer)
  const mirror = all.use(await startMirror({ upstream: hub.url, config }))
  await pull(`${mirror.url}/v2/library/app/manifests/latest`)
  return { hub, mirror, layer, url: `${mirror.url}/v2/library/app/blobs/${layer.digest}` }
}

function assertParts(
  parts: readonly Part[],
  expected: readonly (readonly [start: number, end: number])[],
): void {
  assert.deepEqual(
    parts.map((part) => [part.start, part.end, part.size]),
    expected.map(([start, end]) => [start, end, size]),
  )
  for (const { start, end, bytes } of parts) assert.ok(bytes.equals(content.subarray(start, end)))
}

test('several ranges of a stored blob', async (t) => {
  const { url, layer } = await start(t)
  await pull(url)
  const cases: [range: string, expected: [start: number, end: number][]][] = [
    [
      'bytes=0-0,-1',
      [
        [0, 1],
        [size - 1, size],
      ],
    ],
    [
      'bytes=10-19,1000000-2500000,30-39',
      [
        [10, 20],
        [1_000_000, 2_500_001],
        [30, 40],
      ],
    ],
    [
      'bytes=0-9,10-19',
      [
        [0, 10],
        [10, 20],
      ],
    ],
    ['bytes=5-9,0-6', [[0, 10]]],
    ['bytes=0-9,99999999-', [[0, 10]]],
    [
      `bytes=0-9,${size - 10}-99999999`,
      [
        [0, 10],
        [size - 10, size],
      ],
    ],
  ]
  for (const [range, expected] of cases) {
    const { status, headers, body, parts } = await askRanges(url, range)
    assert.equal(status, 206, range)
    assertParts(parts, expected)
    assert.equal(headers.get('content-length'), String(body.length))
    assert.equal(headers.get('etag'), `"${layer.digest}"`)
    assert.equal(headers.get('docker-content-digest'), layer.digest)
    assert.equal(headers.get('accept-ranges'), 'bytes')
    // One that is left is no multipart, and a multipart has no range of its own (RFC 9110 15.3.7.2).
    const isOne = expected.length === 1
    assert.equal(headers.get('content-range') !== null, isOne)
    assert.match(headers.get('content-type') ?? '', isOne ? /^application\/octet-stream$/ : /^multipart\//)
  }
  for (const range of [`bytes=0-1,${size}-`, `bytes=${size}-,-0`].slice(1)) {
    const { status, headers } = await askRanges(url, range)
    assert.deepEqual([status, headers.get('content-range')], [416, `bytes */${size}`])
  }
  const span = fc
    .tuple(fc.nat(size - 1), fc.nat(200_000))
    .map(([first, more]) => [first, Math.min(first + more, size - 1)] as const)
  await fc.assert(
    fc.asyncProperty(fc.array(span, { minLength: 2, maxLength: 6 }), async (asked) => {
      const { status, parts } = await askRanges(
        url,
        `bytes=${asked.map(([first, last]) => `${first}-${last}`).join(',')}`,
      )
      assert.equal(status, 206)
      for (const { start, end, bytes } of parts) assert.ok(bytes.equals(content.subarray(start, end)))
      for (const [first, last] of asked)
        assert.ok(parts.some(({ start, end }) => start <= first && last < end))
    }),
    { numRuns: 40 },
  )
})

test('as many ranges as clients send at once are answered; more of them, or more than there is, with the whole', async (t) => {
  const { url } = await start(t)
  await pull(url)
  const list = (count: number): string =>
    Array.from({ length: count }, (_, n) => `${n * 2000 + 1}-${n * 2000 + 1500}`).join(',')
  // Of a blob of gigabytes each takes 22 bytes of the header.
  const long = list(1024).replaceAll(/\d+/g, (digits) => digits.padStart(10, '0'))
  const { status, parts } = await askRanges(url, `bytes=${long}`)
  assert.equal(status, 206)
  assertParts(
    parts,
    Array.from({ length: 1024 }, (_, n) => [n * 2000 + 1, n * 2000 + 1501] as const),
  )
  for (const range of [`bytes=${list(1025)}`, 'bytes=0-,0-', `bytes=0-${size - 1},0-0`]) {
    const answer = await askRanges(url, range)
    assert.deepEqual([answer.status, answer.body.equals(content)], [200, true], range.slice(0, 30))
  }
})

test('HEAD, If-Range and If-None-Match are answered as they are without several ranges', async (t) => {
  const { url, layer } = await start(t)
  await pull(url)
  const range = 'bytes=0-9,20-29'
  const head = await askRanges(url, range, { method: 'HEAD' })
  assert.deepEqual([head.status, head.headers.get('content-length')], [200, String(size)])
  const current = await askRanges(url, range, { headers: { 'if-range': `"${layer.digest}"` } })
  assertParts(current.parts, [
    [0, 10],
    [20, 30],
  ])
  const other = await askRanges(url, range, { headers: { 'if-range': '"other"' } })
  assert.deepEqual([other.status, other.body.length], [200, size])
  const known = await askRanges(url, range, { headers: { 'if-none-match': `"${layer.digest}"` } })
  assert.deepEqual([known.status, known.body.length], [304, 0])
})

test('parts of a blob on its way are whole before it is, and come in its order', async (t) => {
  // By one connection: where the machine is slow, more would be tried, and one that is cut short has sent too much.
  const { hub, url, layer } = await start(t, { 'limits.connections': 1 })
  using end = hub.hold({ listener: 'cdn', digest: layer.digest }, size - 1000)
  const whole = pull(url)
  const { status, parts } = await askRanges(url, 'bytes=2000000-2099999,5-9,1000000-1000000')
  assert.equal(status, 206)
  assertParts(parts, [
    [5, 10],
    [1_000_000, 1_000_001],
    [2_000_000, 2_100_000],
  ])
  const [one] = (await askRanges(url, 'bytes=1000-1999')).parts
  assert.ok(one?.bytes.equals(content.subarray(1000, 2000)))
  end.release()
  assert.deepEqual([(await whole).digest, hub.bytesSent(layer.digest)], [layer.digest, size])
})

test('an answer with the last byte of a blob on its way is whole once the digest is verified, and no sooner', async (t) => {
  const { hub, url, layer } = await start(t)
  using rest = hub.hold({ listener: 'cdn', digest: layer.digest }, size - 1)
  const answers = ['bytes=0-9,-10', 'bytes=-10,0-9', `bytes=${size - 10}-`].map((range) => {
    const answer = { received: 0, isWhole: false }
    const onBytes = (bytes: number): void => {
      answer.received = bytes
    }
    const asking = pull(url, { headers: { range }, onBytes }).then(({ isComplete }) => {
      answer.isWhole = isComplete
    })
    return { answer, asking }
  })
  await until(() => answers.every(({ answer }) => answer.received > 0))
  // A part that is asked for later is whole before them.
  assertParts((await askRanges(url, 'bytes=0-9,20-29')).parts, [
    [0, 10],
    [20, 30],
  ])
  for (const { answer } of answers) assert.equal(answer.isWhole, false)
  rest.release()
  for (const { asking } of answers) await asking
  for (const { answer } of answers) assert.equal(answer.isWhole, true)
  assertParts((await askRanges(url, 'bytes=0-9,-10')).parts, [
    [0, 10],
    [size - 10, size],
  ])
})

test('a thousand single bytes of a cold blob, one by one and at once: it comes once at most', async (t) => {
  const { hub, url, layer, mirror } = await start(t)
  for (let round = 0; round < 10; round += 1) {
    const bytes = Array.from({ length: 100 }, (_, n) => ((round * 100 + n) * 7919) % (size - 1))
    const answers = await Promise.all(bytes.map((at) => askRanges(url, `bytes=${at}-${at}`)))
    for (const [index, at] of bytes.entries()) assertParts(answers[index]?.parts ?? [], [[at, at + 1]])
  }
  await until(async () => (await mirror.metric('larder_fills_running')) === 0)
  assert.ok(hub.bytesSent(layer.digest) <= size, `${hub.bytesSent(layer.digest)} of ${size}`)
})
