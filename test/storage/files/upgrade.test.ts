import assert from 'node:assert/strict'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { digestOf } from '../../../src/oci/digest.ts'
import { FileBlobStore } from '../../../src/storage/files/file-blob-store.ts'
import { storedBytes } from '../blob-store.contract.ts'
import { assertVouchedOnly } from '../crash-checks.ts'
import { assertSameBytes, storageFolder, testBytes } from './storage-folder.ts'

// Journals to the byte as release 0.1 left them: of a fill whose size was known and that went on once, and of one
// whose size nobody had told.
const journals = {
  fill: `larder-partial-1 300000
0 100000 3233315896 749720172
150000 50000 3950092357 488600389
200000 30001 2531648380 3944164876

230001 9999 1889831047 1027374564
`,
  unknown: `larder-partial-1 -
0 123456 2376222403 3332275664
`,
}
const content = testBytes(300_000, 7)

/** A data folder as that release left it. */
async function earlierFolder(t: Parameters<typeof storageFolder>[0]): Promise<string> {
  const folder = await storageFolder(t)
  await mkdir(join(folder, 'partial'))
  await writeFile(join(folder, 'VERSION'), '1\n')
  for (const [id, journal] of Object.entries(journals)) {
    const bytes = Buffer.from(content.subarray(0, id === 'fill' ? 240_000 : 123_456))
    if (id === 'fill') bytes.fill(0, 100_000, 150_000)
    await writeFile(join(folder, 'partial', id), bytes)
    await writeFile(join(folder, 'partial', `${id}.journal`), journal)
  }
  return folder
}

for (const [id, ranges] of [
  ['fill', [{ start: 0, end: 100_000 }, { start: 150_000, end: 240_000 }]], // biome-ignore format: one case a line
  ['unknown', [{ start: 0, end: 123_456 }]],
] as const) {
  test(`what release 0.1 left of a blob goes on, to the byte (${id})`, async (t) => {
    const store = await FileBlobStore.open(await earlierFolder(t))
    const bytes = ranges.reduce((sum, { start, end }) => sum + end - start, 0)
    assert.equal((await store.partials.find(id))?.bytes, bytes)
    {
      await using partial = await store.partials.open({ id, algorithm: 'sha256' })
      assert.deepEqual([...partial.present], ranges)
    }
    await using again = await store.partials.open({ id, algorithm: 'sha256' })
    assert.deepEqual([...again.present], ranges, 'and once more')
    await assertVouchedOnly(again, content)
    assertSameBytes((await storedBytes(store, digestOf(content))) ?? Buffer.alloc(0), content)
  })
}

test('what clients had uploaded goes on where it was, and nothing is left where it lay', async (t) => {
  const folder = await earlierFolder(t)
  const id = 'upload-6a1d6d62-51a6-4f4e-8d07-4c6ae0a3c1d2'
  await writeFile(join(folder, 'partial', id), content.subarray(0, 100_000))
  await writeFile(join(folder, 'partial', `${id}.journal`), 'larder-partial-1 -\n')
  // A kill came between the two files of another one.
  await writeFile(join(folder, 'partial', 'upload-of-a-kill.journal'), 'larder-partial-1 -\n')
  for (let start = 1; start <= 2; start += 1) {
    const store = await FileBlobStore.open(folder)
    const found = (await store.writers.list()).map(({ id: name, size }) => [name, size])
    assert.deepEqual(found, [[id, 100_000]])
    const left = (await readdir(join(folder, 'partial'))).filter((name) => name.startsWith('upload-'))
    assert.deepEqual(left, [])
    await store[Symbol.asyncDispose]()
  }
  const store = await FileBlobStore.open(folder)
  await using writer = await store.writers.open({ id, algorithm: 'sha256' })
  await writer.append([content.subarray(100_000)])
  await writer.seal(digestOf(content))
  assertSameBytes((await storedBytes(store, digestOf(content))) ?? Buffer.alloc(0), content)
})
