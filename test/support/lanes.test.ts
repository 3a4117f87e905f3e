import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { isSlow, lanesOf, longest } from './lanes.ts'

const project = resolve(import.meta.dirname, '../..')

test('a file that starts programs, mounts disks or lays slow lines is named so', () => {
  const heavy = /from '[^']*\/(?:child-process|small-disk|larder-process)\.ts'|\bstartSlowLine\(/
  const files = globSync('test/**/*.test.ts', { cwd: project })
  assert.ok(files.length > 100)
  const inTheWrongLane = files.filter(
    (file) => !isSlow(file) && heavy.test(readFileSync(join(project, file), 'utf8')),
  )
  assert.deepEqual(inTheWrongLane, [], 'their names have to end in .slow.test.ts')
})

test('each file is in one lane, those that take longest begin, and no engine is in a lane of several at a time', () => {
  const files = globSync('test/**/*.test.ts', { cwd: project })
  const lanes = lanesOf(files)
  assert.deepEqual(lanes.flatMap((lane) => lane.files).toSorted(), files.toSorted())
  const [first, second, alone] = lanes
  assert.ok(first && second && alone)
  assert.deepEqual(
    lanes.map(({ isAlone, isInMemory }) => [isAlone, isInMemory]),
    [
      [false, true],
      [false, false],
      [true, false],
    ],
  )
  assert.ok(!first.files.some(isSlow))
  for (const file of longest) assert.ok(files.includes(file), `${file} is not there any more`)
  const begin = [first, second].flatMap((lane) =>
    lane.files.slice(0, longest.filter((file) => lane.files.includes(file)).length),
  )
  assert.deepEqual(begin.toSorted(), longest.toSorted())
  // Of those that start programs, only what is named here runs beside others.
  assert.deepEqual(second.files.filter(isSlow).toSorted(), [
    'test/e2e/conformance.test.ts',
    'test/storage/kill.slow.test.ts',
    'test/storage/power-cut.slow.test.ts',
    'test/torture/download-kill.slow.test.ts',
    'test/torture/kill.slow.test.ts',
    'test/torture/power-cut.slow.test.ts',
    'test/torture/pulls.slow.test.ts',
  ])
})
