import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { readStart } from '../../benchmarks/support/contenders.ts'

test('what is measured gets what npm start gives it, and nothing else', async () => {
  const { scripts } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8'))
  assert.deepEqual(readStart(scripts.start), { environment: { MALLOC_ARENA_MAX: '1' }, flags: [] })
})

test('start scripts of other versions: flags, no environment, several of each', () => {
  assert.deepEqual(readStart('exec node --max-semi-space-size=1 src/main.ts serve'), {
    environment: {},
    flags: ['--max-semi-space-size=1'],
  })
  assert.deepEqual(readStart('node build.js && exec env A=1 B=c=d node --one --two=2 dist/main.js serve'), {
    environment: { A: '1', B: 'c=d' },
    flags: ['--one', '--two=2'],
  })
  assert.throws(() => readStart('node tools/build.ts'), /no program in the start script: node tools/)
})
