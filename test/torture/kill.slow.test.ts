import assert from 'node:assert/strict'
import { test } from 'node:test'
import { storageFolder } from '../storage/files/storage-folder.ts'
import { torturedByKills } from './kills.ts'
import { seedOf, tell } from './report.ts'

test('300 kills: nothing acknowledged is lost or comes back, no byte is wrong, and it starts by itself', async (t) => {
  const seed = seedOf(t)
  const report = await torturedByKills({ folder: await storageFolder(t), seed, count: 300 })
  tell(t, report)
  assert.deepEqual(report.problems, [])
})
