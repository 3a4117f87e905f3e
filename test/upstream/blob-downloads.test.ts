import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pino } from 'pino'
import type { Turn } from '../../src/flow/slots.ts'
import { Uplink } from '../../src/flow/uplink.ts'
import type { Digest } from '../../src/oci/digest.ts'
import type { RepositoryName } from '../../src/oci/repository-name.ts'
import { BlobDownloads } from '../../src/upstream/blob-downloads.ts'
import { LineUse } from '../../src/upstream/connections/line-use.ts'
import { UpstreamError } from '../../src/upstream/error.ts'
import { lending } from '../support/lent.ts'
import { answerOf, FakeLink } from './fake-link.ts'
import { collect } from './fixtures.ts'

const app = 'library/app' as RepositoryName
const digest = `sha256:${'a'.repeat(64)}` as Digest
const { signal } = new AbortController()

function downloadsFrom(
  link: FakeLink,
  {
    connections = 1,
    onPrepared = () => {},
  }: { connections?: number; onPrepared?: (count: number) => void } = {},
): BlobDownloads {
  return new BlobDownloads(link, {
    logger: pino({ level: 'silent' }),
    upstream: 'docker.io',
    lineUse: new LineUse(),
    atStorage: (question) => link.request(question),
    uplink: new Uplink(),
    early: { storageFound: (_url, count) => onPrepared(count) },
    downloads: 1,
    connections,
  })
}

/** Lets everything go on that can. */
async function settle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve))
}

const ends: Readonly<Record<string, (blob: Awaited<ReturnType<BlobDownloads['open']>>) => Promise<void>>> = {
  'is read to its end': async (blob) => void (await collect(blob.body())),
  'is left in the middle': async (blob) => {
    for await (const _ of blob.body()) break
  },
  'breaks off': async (blob) => {
    await assert.rejects(collect(blob.body()), /cut/)
  },
  'is stopped': async (blob) => blob.stop(),
  'is not wanted': async (blob) => blob.discard(),
}

for (const [how, end] of Object.entries(ends)) {
  test(`the next part is asked for when the one before ${how}`, async () => {
    const link = new FakeLink(() =>
      answerOf(200, {
        async *lent() {
          yield* lending(Buffer.from('one'))
          if (how === 'breaks off') throw new Error('cut')
          yield* lending(Buffer.from('two'))
        },
      }),
    )
    const downloads = downloadsFrom(link)
    const first = await downloads.open(app, digest, { position: 0, signal })
    const second = downloads.open(app, digest, { position: 0, signal })
    await settle()
    assert.equal(link.questions.length, 1)
    await end(first)
    ;(await second).discard()
    assert.equal(link.questions.length, 2)
  })
}

test('a blob that is refused, or of which the answer tells no part, keeps no place', async () => {
  const answers = [
    () => Promise.reject(new UpstreamError('NOT_FOUND', 'docker.io', 'it does not have this')),
    () => answerOf(206),
    () => answerOf(200),
  ]
  const link = new FakeLink(() => answers.shift()?.() ?? answerOf(500))
  const downloads = downloadsFrom(link)
  await assert.rejects(downloads.open(app, digest, { position: 0, signal }), { code: 'NOT_FOUND' })
  await assert.rejects(downloads.open(app, digest, { position: 0, signal }), { code: 'INVALID_RESPONSE' })
  ;(await downloads.open(app, digest, { position: 0, signal })).discard()
})

test('who leaves while others have the connections asks nothing', async () => {
  const link = new FakeLink(() => answerOf(200))
  const downloads = downloadsFrom(link)
  const first = await downloads.open(app, digest, { position: 0, signal })
  const leaving = new AbortController()
  const second = downloads.open(app, digest, { position: 0, signal: leaving.signal })
  await settle()
  leaving.abort(new Error('left'))
  await assert.rejects(second, /left/)
  first.discard()
  await settle()
  assert.equal(link.questions.length, 1)
})

test('a hole in the middle is asked for as it is, and what came is counted', async () => {
  const link = new FakeLink(() =>
    answerOf(206, { headers: { 'content-range': 'bytes 5-6/100' }, bytes: Buffer.from('ab') }),
  )
  const downloads = downloadsFrom(link)
  const blob = await downloads.open(app, digest, { position: 5, end: 7, signal })
  assert.deepEqual([blob.start, blob.end, blob.size, blob.as], [5, 7, 100, 'anyone'])
  assert.equal((await collect(blob.body())).toString(), 'ab')
  assert.equal(downloads.bytes, 2)
  for (const [position, end] of [[0], [5], [0, 1]] as const) {
    ;(await downloads.open(app, digest, { position, end, signal })).discard()
  }
  assert.deepEqual(
    link.questions.map(({ headers }) => headers?.range),
    ['bytes=5-6', undefined, 'bytes=5-', 'bytes=0-0'],
  )
})

test('blobs come one after the other, whatever connections they have', async () => {
  const downloads = downloadsFrom(new FakeLink(() => answerOf(200)))
  const turn: Turn = { clients: ['a'], receivingSince: undefined, bytes: 0, restingMs: 0, end: () => false }
  const first = await downloads.turn(turn, signal)
  let hasTurn = false
  const second = downloads.turn(turn, signal).then((place) => {
    hasTurn = true
    return place
  })
  ;(await downloads.open(app, digest, { position: 0, signal })).discard()
  await settle()
  assert.equal(hasTurn, false)
  first[Symbol.dispose]()
  ;(await second)[Symbol.dispose]()
})

const announced: readonly (readonly [
  what: string,
  status: number,
  headers: Record<string, string>,
  end: unknown,
])[] = [
  [
    'a part that begins and ends elsewhere than asked',
    206,
    { 'content-range': 'bytes 2-20/100' },
    [2, 21, 100],
  ],
  ['a part of a blob of unknown size', 206, { 'content-range': 'bytes 5-6/*' }, [5, 7, undefined]],
  ['the whole in place of a part', 200, { 'content-length': '100' }, [0, 100, 100]],
  ['the whole without a length', 200, {}, [0, undefined, undefined]],
]

for (const [what, status, headers, expected] of announced) {
  test(`who asks for a part can tell ${what}`, async () => {
    const downloads = downloadsFrom(new FakeLink(() => answerOf(status, { headers })))
    const blob = await downloads.open(app, digest, { position: 5, end: 7, signal })
    blob.discard()
    assert.deepEqual([blob.start, blob.end, blob.size], expected)
  })
}

test('nothing is asked for before what came is due', async () => {
  const link = new FakeLink(() => answerOf(200))
  const downloads = downloadsFrom(link)
  const due = Promise.withResolvers<void>()
  const paced: number[] = []
  const pace = (bytes: number): Promise<void> => {
    paced.push(bytes)
    return due.promise
  }
  const opening = downloads.open(app, digest, { position: 0, signal, pace })
  await settle()
  assert.deepEqual([paced, link.questions.length], [[0], 0])
  due.resolve()
  ;(await opening).discard()
  assert.equal(link.questions.length, 1)
})

test('storage is got ready for the parts that are still to be sent there', async () => {
  const prepared: number[] = []
  const asked: ((url: URL) => void)[] = []
  const link = new FakeLink(async ({ onStorage }) => {
    await new Promise<void>((resolve) =>
      asked.push((url) => {
        onStorage?.(url)
        resolve()
      }),
    )
    return answerOf(200)
  })
  const downloads = downloadsFrom(link, { connections: 4, onPrepared: (count) => prepared.push(count) })
  const open = (end?: number) => downloads.open(app, digest, { position: 0, end, signal })
  const small = [open(), open(), open()]
  await settle()
  for (const answer of asked.splice(0)) answer(new URL('https://storage.test'))
  for (const blob of await Promise.all(small)) blob.discard()
  assert.deepEqual(prepared, [3, 2, 1])
  const long = open(1024 * 1024)
  await settle()
  asked[0]?.(new URL('https://storage.test'))
  ;(await long).discard()
  assert.equal(prepared.at(-1), 8)
})
