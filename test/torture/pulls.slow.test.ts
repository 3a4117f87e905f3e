import assert from 'node:assert/strict'
import { test } from 'node:test'
import { storageFolder } from '../storage/files/storage-folder.ts'
import { tellPulls } from './pull-report.ts'
import { torturedByPulls } from './pulls.ts'
import { seedOf } from './report.ts'

for (const { cache, count, what } of [
  { cache: 'ample', count: 100, what: 'no byte is wrong, none crosses the line twice, no memory is held' },
  { cache: 'tight', count: 40, what: 'in a cache that has no room for most of them: no byte is wrong' },
] as const)
  test(`${count} pulls of 0 to 64 MiB that break off, pause and leave: ${what}`, async (t) => {
    const report = await torturedByPulls({ folder: await storageFolder(t), seed: seedOf(t), count, cache })
    tellPulls(t, report)
    assert.deepEqual(report.problems, [])
    const { clients, faults } = report
    assert.ok(clients.whole > 0 && clients.ranges > 0 && clients.left > 0)
    assert.ok(Object.keys(faults).length > 3)
  })
