import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { isSlow } from './lanes.ts'

const project = resolve(import.meta.dirname, '../..')

test('a file that starts programs, mounts disks or lays slow lines is in the lane that runs one at a time', () => {
  const heavy = /from '[^']*\/(?:child-process|small-disk|larder-process)\.ts'|\bstartSlowLine\(/
  const files = globSync('test/**/*.test.ts', { cwd: project })
  assert.ok(files.length > 100)
  const inTheWrongLane = files.filter(
    (file) => !isSlow(file) && heavy.test(readFileSync(join(project, file), 'utf8')),
  )
  assert.deepEqual(inTheWrongLane, [], 'their names have to end in .slow.test.ts')
})
