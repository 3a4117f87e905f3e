import assert from 'node:assert/strict'
import { test } from 'node:test'
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

function downloadsFrom(link: FakeLink, downloads = 1): BlobDownloads {
  return new BlobDownloads(link, { upstream: 'docker.io', lineUse: new LineUse(), downloads })
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
  test(`the next blob is asked for when the one before ${how}`, async () => {
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

test('who leaves while others have their turn asks nothing', async () => {
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
  assert.deepEqual([blob.start, blob.size, blob.as], [5, 100, 'anyone'])
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
