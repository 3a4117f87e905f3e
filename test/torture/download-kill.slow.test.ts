import assert from 'node:assert/strict'
import { test } from 'node:test'
import { storageFolder } from '../storage/files/storage-folder.ts'
import { tellDownloads, torturedByDownloadKills } from './download-kills.ts'
import { seedOf } from './report.ts'

test('200 downloads that are killed: no byte is wrong, and each kill costs next to nothing', async (t) => {
  const seed = seedOf(t)
  const report = await torturedByDownloadKills({ folder: await storageFolder(t), seed, count: 200 })
  tellDownloads(t, report)
  assert.deepEqual(report.problems, [])
})
