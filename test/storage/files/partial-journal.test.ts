import assert from 'node:assert/strict'
import { type FileHandle, open, readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { type JournalRecord, PartialJournal } from '../../../src/storage/files/partial-journal.ts'
import { Ranges } from '../../../src/storage/ranges.ts'
import { storageFolder } from './storage-folder.ts'

const boot = '6f1c1a52-5a0b-4f4e-9d55-0d6f2e6a4c11'
const later = '0a5d7c1e-1111-4222-8333-944445555666'

function recordOf(start: number, end: number) {
  return { start, length: end - start }
}

async function journalPath(t: TestContext): Promise<string> {
  return join(await storageFolder(t), 'x.journal')
}

/** A journal of three runs that do not touch, closed. */
async function writeThreeRecords(path: string) {
  const journal = await PartialJournal.create(path, boot)
  const runs = [
    [0, 100],
    [500, 700],
    [300, 301],
  ] as const
  for (const [start, end] of runs) {
    await journal.note(start, end - start)
    await journal.flush()
  }
  await journal.close()
  return runs.map(([start, end]) => recordOf(start, end))
}

/** As records are told: in the order of their places. */
function sorted(records: readonly JournalRecord[]): JournalRecord[] {
  return records.toSorted((one, other) => one.start - other.start)
}

test('what was noted is read back', async (t) => {
  const path = await journalPath(t)
  const expected = await writeThreeRecords(path)
  assert.deepEqual(await PartialJournal.read(path, boot), sorted(expected))
})

test('a size in the header, as earlier releases wrote it, is a claim that is not looked at', async (t) => {
  const path = await journalPath(t)
  const expected = await writeThreeRecords(path)
  const text = await readFile(path, 'utf8')
  for (const size of ['-', '0', '1000', '20000000000']) {
    await writeFile(path, text.replace('larder-partial-1 -', `larder-partial-1 ${size}`))
    assert.deepEqual(await PartialJournal.read(path, boot), sorted(expected))
  }
})

test('notes that go on where one ended become one record', async (t) => {
  t.mock.method(performance, 'now', () => 0)
  const path = await journalPath(t)
  const journal = await PartialJournal.create(path, boot)
  for (const at of [0, 5000, 100, 5100, 200]) await journal.note(at, 100)
  await journal.flush()
  await journal.close()
  assert.deepEqual(await PartialJournal.read(path, boot), [recordOf(0, 300), recordOf(5000, 5200)])
})

test('it writes down after 100 ms or 256 KiB, and not for each note', async (t) => {
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const path = await journalPath(t)
  const journal = await PartialJournal.create(path, boot)
  t.after(() => journal.close())
  const recorded = async () => (await PartialJournal.read(path, boot))?.length
  await journal.note(0, 10_000)
  now = 99
  await journal.note(20_000, 10_000)
  assert.equal(await recorded(), 0)
  now = 100
  await journal.note(40_000, 10_000)
  assert.equal(await recorded(), 3)
  await journal.note(100_000, 256 * 1024 - 1)
  assert.equal(await recorded(), 3)
  await journal.note(9_000_000, 1)
  assert.equal(await recorded(), 5)
})

test('no journal, or another version: undefined', async (t) => {
  const path = await journalPath(t)
  assert.equal(await PartialJournal.read(path, boot), undefined)
  await writeThreeRecords(path)
  const text = await readFile(path, 'utf8')
  await writeFile(path, text.replace('larder-partial-1', 'larder-partial-2'))
  assert.equal(await PartialJournal.read(path, boot), undefined)
  await writeFile(path, '')
  assert.equal(await PartialJournal.read(path, boot), undefined)
})

test('a line that a full disk tore takes nothing of what is noted once there is room again', async (t) => {
  t.mock.method(performance, 'now', () => 0)
  const path = await journalPath(t)
  const journal = await PartialJournal.create(path, boot)
  // The disk takes half of the line, and no more.
  await using file = await open(path, 'r')
  const handles: FileHandle = Object.getPrototypeOf(file)
  const { appendFile } = handles
  const torn = t.mock.method(handles, 'appendFile', async function (this: FileHandle, text: string) {
    await Reflect.apply(appendFile, this, [text.slice(0, text.length / 2)])
    throw Object.assign(new Error('no space'), { code: 'ENOSPC' })
  })
  await journal.note(0, 100)
  await assert.rejects(journal.flush(), { code: 'ENOSPC' })
  torn.mock.restore()
  await journal.note(500, 200)
  await journal.note(100, 100)
  await journal.flush()
  await journal.close()
  const present = new Ranges()
  for (const { start, length } of (await PartialJournal.read(path, boot)) ?? [])
    present.add(start, start + length)
  assert.deepEqual(
    [...present],
    [
      { start: 0, end: 200 },
      { start: 500, end: 700 },
    ],
  )
})

test('torn at any byte: the whole lines before are read, and what is noted afterwards is too', async (t) => {
  const path = await journalPath(t)
  const expected = await writeThreeRecords(path)
  const text = await readFile(path, 'utf8')
  const headerLength = text.indexOf('\n')
  for (let length = 0; length < text.length; length += 1) {
    await writeFile(path, text)
    await truncate(path, length)
    const read = await PartialJournal.read(path, boot)
    if (length < headerLength) {
      assert.equal(read, undefined)
      continue
    }
    // The last newline itself may be missing.
    const whole = text.slice(0, length + 1).split('\n').length - 3
    assert.deepEqual(read, sorted(expected.slice(0, Math.max(whole, 0))), `torn after ${length} bytes`)
    const journal = await PartialJournal.resume(path, boot)
    await journal.note(900, 50)
    await journal.flush()
    await journal.close()
    const resumed = await PartialJournal.read(path, boot)
    assert.deepEqual(resumed, sorted([...expected.slice(0, Math.max(whole, 0)), recordOf(900, 950)]))
  }
})

test('any byte of a record changed: the record is dropped, the others stand', async (t) => {
  const path = await journalPath(t)
  const expected = await writeThreeRecords(path)
  const bytes = await readFile(path)
  const header = bytes.indexOf('\n', bytes.indexOf('\n') + 1) + 1
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: header, max: bytes.length - 1 }),
      fc.integer({ min: 1, max: 255 }),
      async (at, flipped) => {
        const torn = Buffer.from(bytes)
        torn[at] = (torn[at] ?? 0) ^ flipped
        await writeFile(path, torn)
        const read = (await PartialJournal.read(path, boot)) ?? []
        for (const record of read) {
          assert.ok(
            expected.some((one) => JSON.stringify(one) === JSON.stringify(record)),
            `${JSON.stringify(record)} was never written`,
          )
        }
        // A changed newline joins two lines, and both are dropped.
        assert.ok(read.length >= expected.length - 2, `${read.length} records`)
      },
    ),
  )
})

test('create replaces what is there', async (t) => {
  const path = await journalPath(t)
  await writeThreeRecords(path)
  await (await PartialJournal.create(path, boot)).close()
  assert.deepEqual(await PartialJournal.read(path, boot), [])
})

/** What a journal says under a boot, as pairs of start and end. */
async function pairs(path: string, under: string | undefined) {
  return (await PartialJournal.read(path, under))?.map(({ start, length }) => [start, start + length])
}

test('what was written counts under its own boot only, what was synced under any', async (t) => {
  const path = await journalPath(t)
  const journal = await PartialJournal.create(path, boot)
  await journal.note(0, 300)
  await journal.flush()
  await journal.synced([{ start: 0, end: 200 }])
  await journal.note(500, 100)
  await journal.flush()
  await journal.close()
  const all = [
    [0, 300],
    [500, 600],
  ]
  assert.deepEqual(await pairs(path, boot), all)
  for (const under of [later, undefined]) assert.deepEqual(await pairs(path, under), [[0, 200]])
  const resumed = await PartialJournal.resume(path, later)
  await resumed.note(200, 50)
  await resumed.flush()
  await resumed.close()
  assert.deepEqual(await pairs(path, later), [[0, 250]])
  assert.deepEqual(await pairs(path, 'e0000000-1111-4222-8333-944445555666'), [[0, 200]])
})

test('a system that has no name for its boot: what was not synced never counts, whoever asks', async (t) => {
  const path = await journalPath(t)
  const journal = await PartialJournal.create(path, undefined)
  await journal.note(0, 300)
  await journal.flush()
  await journal.synced([{ start: 100, end: 200 }])
  await journal.close()
  for (const under of [undefined, boot]) assert.deepEqual(await pairs(path, under), [[100, 200]], under)
})

test('what was not there although it was written down is lost, until it is written again', async (t) => {
  const path = await journalPath(t)
  const journal = await PartialJournal.create(path, boot)
  await journal.note(0, 1000)
  await journal.flush()
  await journal.synced([{ start: 0, end: 1000 }])
  await journal.close()
  const resumed = await PartialJournal.resume(path, boot, [
    { start: 100, end: 200 },
    { start: 900, end: 1000 },
  ])
  const left = [
    [0, 100],
    [200, 900],
  ]
  for (const under of [boot, later]) assert.deepEqual(await pairs(path, under), left)
  await resumed.note(100, 100)
  await resumed.flush()
  await resumed.close()
  assert.deepEqual(await pairs(path, boot), [[0, 900]])
  assert.deepEqual(await pairs(path, later), left)
})

test('lines of words that a later release may write are dropped', async (t) => {
  const path = await journalPath(t)
  await writeThreeRecords(path)
  const text = await readFile(path, 'utf8')
  await writeFile(path, text.replaceAll(/^at /gm, 'on '))
  assert.deepEqual(await PartialJournal.read(path, boot), [])
  const words = ['at', 'on 1 2', 'at 1', 'synced', 'lost', 'boot', '1 2', '1 2 3 4', '']
  await writeFile(path, `${text}${words.map((word) => `${word} ${crc32(word)}\n`).join('')}`)
  assert.deepEqual(await pairs(path, boot), [
    [0, 100],
    [300, 301],
    [500, 700],
  ])
})
