// The files of a catalog that is open are removed or replaced. Thought of: the file alone, with its journal, the journal
// alone; an empty file, another catalog, a folder in its place; met by a verb, by a question whether it is well, by the
// end; no room to put it back; twice.
import assert from 'node:assert/strict'
import { copyFile, mkdir, readdir, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { SqliteCatalog } from '../../../src/storage/sqlite/sqlite-catalog.ts'
import { nothingStored } from '../../../src/storage/stored-bytes.ts'
import { storageFolder } from '../files/storage-folder.ts'
import { localAt, mirroredAt, record, tagAt } from './everything.ts'

async function opened(t: TestContext) {
  const path = join(await storageFolder(t), 'catalog.db')
  const [onPutBack, onDamaged] = [t.mock.fn(), t.mock.fn()]
  const catalog = await SqliteCatalog.open(path, { onPutBack, onDamaged })
  return { path, catalog, onPutBack, onDamaged }
}

/** What another start finds: all that was acknowledged. */
async function assertKept(path: string, numbers: readonly number[]): Promise<void> {
  await using again = await SqliteCatalog.open(path, { onDamaged: () => assert.fail('it is damaged') })
  for (const n of numbers) assert.ok(await again.tag(localAt(n), tagAt(n)), `${n} is lost`)
}

const ways: Record<string, (path: string) => Promise<void>> = {
  'the file is removed': (path) => rm(path),
  'the file and its journal are removed': async (path) => {
    for (const ending of ['', '-wal', '-shm']) await rm(path + ending)
  },
  'the journal is removed': (path) => rm(`${path}-wal`),
  'an empty file has its place': async (path) => {
    await writeFile(`${path}.x`, '')
    await rename(`${path}.x`, path)
  },
  'a copy of it has its place': async (path) => {
    await copyFile(path, `${path}.x`)
    await rename(`${path}.x`, path)
  },
  'a folder has its place': async (path) => {
    await rm(path)
    await mkdir(path)
  },
}

for (const [what, doIt] of Object.entries(ways)) {
  test(`${what} between two pushes: told at once, and nothing that was acknowledged is lost`, async (t) => {
    const { path, catalog, onPutBack, onDamaged } = await opened(t)
    await record(catalog, 1)
    for (const n of [2, 3]) {
      await doIt(path)
      await record(catalog, n)
      assert.equal(onPutBack.mock.callCount(), n - 1)
    }
    assert.equal(onDamaged.mock.callCount(), 0)
    // As a kill leaves it: nothing is written at the end.
    const copied = join(dirname(path), 'copy.db')
    for (const ending of ['', '-wal']) await copyFile(path + ending, copied + ending)
    await catalog[Symbol.asyncDispose]()
    await assertKept(path, [1, 2, 3])
    await assertKept(copied, [1, 2, 3])
  })

  test(`${what} and nothing is pushed any more: put back at the end`, async (t) => {
    const { path, catalog, onPutBack } = await opened(t)
    await record(catalog, 1)
    await doIt(path)
    await catalog[Symbol.asyncDispose]()
    assert.equal(onPutBack.mock.callCount(), 1)
    await assertKept(path, [1])
  })
}

test('removed, and asked whether it is well: it is put back', async (t) => {
  const { path, catalog, onPutBack } = await opened(t)
  await record(catalog, 1)
  await rm(path)
  await catalog.probe()
  assert.equal(onPutBack.mock.callCount(), 1)
  await catalog[Symbol.asyncDispose]()
  await assertKept(path, [1])
})

test('removed, and it cannot be put back: verbs fail until it can', async (t) => {
  const { path, catalog, onPutBack } = await opened(t)
  await record(catalog, 1)
  await rm(path)
  // In the way of the copy.
  await mkdir(`${path}.rebuilt`)
  await assert.rejects(record(catalog, 2), { name: 'StorageError' })
  await assert.rejects(catalog.probe(), { name: 'StorageError' })
  await rm(`${path}.rebuilt`, { recursive: true })
  await record(catalog, 2)
  assert.equal(onPutBack.mock.callCount(), 1)
  await catalog[Symbol.asyncDispose]()
  await assertKept(path, [1, 2])
  const left = (await readdir(dirname(path))).filter((name) => name.includes('rebuilt'))
  assert.deepEqual(left, [])
})

test('removed, and it cannot be put back before the end: nothing is known meanwhile, and the end says that it is lost', async (t) => {
  const { path, catalog } = await opened(t)
  await record(catalog, 1)
  assert.notDeepEqual(await catalog.usage(), nothingStored)
  await rm(path)
  await mkdir(`${path}.rebuilt`)
  await assert.rejects(catalog.probe(), { name: 'StorageError' })
  assert.deepEqual(await catalog.usage(), nothingStored)
  assert.equal(await catalog.tag(mirroredAt(1), tagAt(1)), undefined)
  await assert.rejects(catalog.tag(localAt(1), tagAt(1)), { code: 'CORRUPT' })
  await assert.rejects(catalog[Symbol.asyncDispose](), { name: 'StorageError' })
})

test('put back again and again, it keeps nothing open', async (t) => {
  const { path, catalog: again } = await opened(t)
  await using catalog = again
  const descriptors = async () => (await readdir('/proc/self/fd')).length
  const putBack = async () => {
    await rm(path)
    await catalog.probe()
  }
  await putBack()
  const before = await descriptors()
  for (let n = 0; n < 3; n += 1) await putBack()
  assert.equal(await descriptors(), before)
})

test('the journal is cut short between two pushes: what is acknowledged from then on is not lost with it', async (t) => {
  const { path, catalog, onDamaged } = await opened(t)
  await record(catalog, 1)
  await truncate(`${path}-wal`)
  await record(catalog, 2)
  assert.equal(onDamaged.mock.callCount(), 1)
  assert.ok(await catalog.tag(localAt(2), tagAt(2)))
  await catalog[Symbol.asyncDispose]()
  await assertKept(path, [2])
})

test('its journal is removed after a kill: told at the next start, and only then', async (t) => {
  const { path, catalog } = await opened(t)
  await record(catalog, 1)
  // As a kill leaves it.
  const copied = join(dirname(path), 'copy.db')
  for (const ending of ['', '-wal', '.open']) await copyFile(path + ending, copied + ending)
  await catalog[Symbol.asyncDispose]()
  const starts = async (of: string) => {
    const onJournalLost = t.mock.fn()
    await (await SqliteCatalog.open(of, { onJournalLost }))[Symbol.asyncDispose]()
    return onJournalLost.mock.callCount()
  }
  assert.equal(await starts(path), 0, 'after a proper stop there is none')
  await rm(`${copied}-wal`)
  assert.equal(await starts(copied), 1)
  assert.equal(await starts(copied), 0)
})

test('its journal is there after a kill: nothing is told', async (t) => {
  const { path, catalog } = await opened(t)
  await record(catalog, 1)
  const copied = join(dirname(path), 'copy.db')
  for (const ending of ['', '-wal', '.open']) await copyFile(path + ending, copied + ending)
  await catalog[Symbol.asyncDispose]()
  const onJournalLost = () => assert.fail('it is there')
  await using again = await SqliteCatalog.open(copied, { onJournalLost })
  assert.ok(await again.tag(localAt(1), tagAt(1)))
})
