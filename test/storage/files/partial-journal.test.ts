import assert from 'node:assert/strict'
import { type FileHandle, open, readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { PartialJournal } from '../../../src/storage/files/partial-journal.ts'
import { Ranges } from '../../../src/storage/ranges.ts'
import { storageFolder, testBytes } from './storage-folder.ts'

const content = testBytes(10_000)

function recordOf(start: number, end: number) {
  return { start, length: end - start, checksum: crc32(content.subarray(start, end)) }
}

async function journalPath(t: TestContext): Promise<string> {
  return join(await storageFolder(t), 'x.journal')
}

/** A journal of three runs that do not touch, closed. */
async function writeThreeRecords(path: string) {
  const journal = await PartialJournal.create(path)
  const runs = [
    [0, 100],
    [500, 700],
    [300, 301],
  ] as const
  for (const [start, end] of runs) {
    await journal.note(start, content.subarray(start, end))
    await journal.flush()
  }
  await journal.close()
  return runs.map(([start, end]) => recordOf(start, end))
}

test('what was noted is read back', async (t) => {
  const path = await journalPath(t)
  const expected = await writeThreeRecords(path)
  assert.deepEqual(await PartialJournal.read(path), expected)
})

test('a size in the header, as earlier releases wrote it, is a claim that is not looked at', async (t) => {
  const path = await journalPath(t)
  const expected = await writeThreeRecords(path)
  const text = await readFile(path, 'utf8')
  for (const size of ['-', '0', '1000', '20000000000']) {
    await writeFile(path, text.replace('larder-partial-1 -', `larder-partial-1 ${size}`))
    assert.deepEqual(await PartialJournal.read(path), expected)
  }
})

test('notes that go on where one ended become one record, with the checksum of all', async (t) => {
  t.mock.method(performance, 'now', () => 0)
  const path = await journalPath(t)
  const journal = await PartialJournal.create(path)
  for (const at of [0, 5000, 100, 5100, 200]) await journal.note(at, content.subarray(at, at + 100))
  await journal.flush()
  await journal.close()
  assert.deepEqual(await PartialJournal.read(path), [recordOf(5000, 5200), recordOf(0, 300)])
})

test('it writes down after 100 ms or 1 MiB, and not for each note', async (t) => {
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const path = await journalPath(t)
  const journal = await PartialJournal.create(path)
  t.after(() => journal.close())
  const recorded = async () => (await PartialJournal.read(path))?.length
  await journal.note(0, content)
  now = 99
  await journal.note(20_000, content)
  assert.equal(await recorded(), 0)
  now = 100
  await journal.note(40_000, content)
  assert.equal(await recorded(), 3)
  const large = testBytes(1024 * 1024 - 1)
  await journal.note(100_000, large)
  assert.equal(await recorded(), 3)
  await journal.note(9_000_000, content.subarray(0, 1))
  assert.equal(await recorded(), 5)
})

test('no journal, or another version: undefined', async (t) => {
  const path = await journalPath(t)
  assert.equal(await PartialJournal.read(path), undefined)
  await writeThreeRecords(path)
  const text = await readFile(path, 'utf8')
  await writeFile(path, text.replace('larder-partial-1', 'larder-partial-2'))
  assert.equal(await PartialJournal.read(path), undefined)
  await writeFile(path, '')
  assert.equal(await PartialJournal.read(path), undefined)
})

test('a line that a full disk tore takes nothing of what is noted once there is room again', async (t) => {
  t.mock.method(performance, 'now', () => 0)
  const path = await journalPath(t)
  const journal = await PartialJournal.create(path)
  // The disk takes half of the line, and no more.
  await using file = await open(path, 'r')
  const handles: FileHandle = Object.getPrototypeOf(file)
  const { appendFile } = handles
  const torn = t.mock.method(handles, 'appendFile', async function (this: FileHandle, text: string) {
    await Reflect.apply(appendFile, this, [text.slice(0, text.length / 2)])
    throw Object.assign(new Error('no space'), { code: 'ENOSPC' })
  })
  await journal.note(0, content.subarray(0, 100))
  await assert.rejects(journal.flush(), { code: 'ENOSPC' })
  torn.mock.restore()
  await journal.note(500, content.subarray(500, 700))
  await journal.note(100, content.subarray(100, 200))
  await journal.flush()
  await journal.close()
  const present = new Ranges()
  for (const { start, length } of (await PartialJournal.read(path)) ?? []) present.add(start, start + length)
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
    const read = await PartialJournal.read(path)
    if (length < headerLength) {
      assert.equal(read, undefined)
      continue
    }
    // The last newline itself may be missing.
    const whole = text.slice(0, length + 1).split('\n').length - 2
    assert.deepEqual(read, expected.slice(0, Math.max(whole, 0)), `torn after ${length} bytes`)
    const journal = await PartialJournal.resume(path)
    await journal.note(900, content.subarray(900, 950))
    await journal.flush()
    await journal.close()
    const resumed = await PartialJournal.read(path)
    assert.deepEqual(resumed, [...expected.slice(0, Math.max(whole, 0)), recordOf(900, 950)])
  }
})

test('any byte of a record changed: the record is dropped, the others stand', async (t) => {
  const path = await journalPath(t)
  const expected = await writeThreeRecords(path)
  const bytes = await readFile(path)
  const header = bytes.indexOf('\n') + 1
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: header, max: bytes.length - 1 }),
      fc.integer({ min: 1, max: 255 }),
      async (at, flipped) => {
        const torn = Buffer.from(bytes)
        torn[at] = (torn[at] ?? 0) ^ flipped
        await writeFile(path, torn)
        const read = (await PartialJournal.read(path)) ?? []
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
  await (await PartialJournal.create(path)).close()
  assert.deepEqual(await PartialJournal.read(path), [])
})
