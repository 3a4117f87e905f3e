import assert from 'node:assert/strict'
import { test } from 'node:test'
import { powerCutDisk, powerCutPrograms } from '../storage/power-cut-disk.ts'
import { reasonToSkip } from '../support/programs.ts'
import { torturedByPowerCuts } from './power-cuts.ts'
import { seedOf, tell } from './report.ts'

const skip = reasonToSkip({ programs: powerCutPrograms, root: true })

test('300 power cuts on ext4: nothing acknowledged is lost or comes back, and no byte is wrong', {
  skip,
}, async (t) => {
  const report = await torturedByPowerCuts(await powerCutDisk(t), { seed: seedOf(t), count: 300 })
  tell(t, report)
  assert.deepEqual(report.problems, [])
})
