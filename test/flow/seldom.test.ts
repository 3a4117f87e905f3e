import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { tellSeldom } from '../../src/flow/seldom.ts'

test('what happens again and again is told once a minute, with how often', (t: TestContext) => {
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const lines: unknown[] = []
  const log = {
    warn: (fields: object, message: string) => void lines.push(['warn', fields, message]),
    error: (fields: object, message: string) => void lines.push(['error', fields, message]),
  }
  for (let n = 0; n < 50; n += 1) tellSeldom(log, 'error', { err: n }, 'full')
  tellSeldom(log, 'warn', { digest: 'x' }, 'other')
  assert.deepEqual(lines, [
    ['error', { err: 0, times: 1 }, 'full'],
    ['warn', { digest: 'x', times: 1 }, 'other'],
  ])
  now = 60_001
  tellSeldom(log, 'error', { err: 'again' }, 'full')
  assert.deepEqual(lines.at(-1), ['error', { err: 'again', times: 50 }, 'full'])
})
