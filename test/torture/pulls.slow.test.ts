import assert from 'node:assert/strict'
import { test } from 'node:test'
import { storageFolder } from '../storage/files/storage-folder.ts'
import type { PullPlan } from './pull-plan.ts'
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

test('pulls of the same content, some of which go wrong: each is judged by what it did', async (t) => {
  const plan: PullPlan = {
    ...{ size: 1, seed: 'the same', line: 'plain', isChunked: false, hasManifest: true },
    ...{ bytesPerSecond: undefined, faults: [], clients: [{ kind: 'whole', joinsAt: 0 }] },
  }
  const wrong: PullPlan = { ...plan, faults: [{ kind: 'wrong', fault: { flipAt: 0 } }] }
  const plans = [wrong, plan, plan, plan, plan]
  const options = {
    folder: await storageFolder(t),
    seed: 0,
    count: plans.length,
    plans,
    cache: 'ample',
  } as const
  const { problems, faults, bytes } = await torturedByPulls(options)
  assert.deepEqual([problems, faults, bytes.upstream], [[], { wrong: 1 }, 2])
})
