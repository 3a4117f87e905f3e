// A catalog on a disk that is full. Thought of: full at the stop; at the next start; after a kill; room again.
import assert from 'node:assert/strict'
import { open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { SqliteCatalog } from '../../../src/storage/sqlite/sqlite-catalog.ts'
import { reasonToSkip } from '../../support/programs.ts'
import { smallDisk, smallDiskNeeds } from '../files/small-disk.ts'
import { localAt, record, tagAt } from './everything.ts'

test('a full disk: the catalog is closed and opened all the same, with all that was acknowledged', {
  skip: reasonToSkip(smallDiskNeeds),
}, async (t) => {
  const folder = await smallDisk(t, 'size=3m')
  const path = join(folder, 'catalog.db')
  const catalog = await SqliteCatalog.open(path)
  await record(catalog, 1)
  const filler = await open(join(folder, 'filler'), 'w')
  await assert.rejects(
    async () => {
      for (;;) await filler.appendFile(Buffer.alloc(4096))
    },
    { code: 'ENOSPC' },
  )
  await filler.close()
  await catalog[Symbol.asyncDispose]()
  const onJournalLost = () => assert.fail('it is there')
  {
    await using full = await SqliteCatalog.open(path, { onJournalLost })
    assert.ok(await full.tag(localAt(1), tagAt(1)))
  }
  await rm(join(folder, 'filler'))
  await using again = await SqliteCatalog.open(path, { onJournalLost })
  await record(again, 2)
  for (const n of [1, 2]) assert.ok(await again.tag(localAt(n), tagAt(n)))
})
