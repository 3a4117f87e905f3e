import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import type { CommandLine } from '../../src/cli/command-line.ts'
import { exitCodes } from '../../src/cli/exit-codes.ts'
import { tellFailure } from '../../src/cli/failure.ts'

async function told(error: Error, environment: NodeJS.ProcessEnv): Promise<string> {
  const stderr = new PassThrough()
  const code = await tellFailure(error, { stderr, environment } as unknown as CommandLine)
  assert.equal(code, exitCodes.unexpected)
  return String(stderr.read())
}

test('what was not expected is told whole where that is asked for, its parts too, and no secret', async () => {
  const parts = [new Error('one of them, https://ann:secret@registry.example/'), new Error('another')]
  const error = new AggregateError(parts, '2 things failed', { cause: new Error('a reason') })
  const brief = await told(error, {})
  assert.match(brief, /^larder: 2 things failed\n.*LARDER_DEBUG=1/)
  assert.doesNotMatch(brief, /one of them/)
  const whole = await told(error, { LARDER_DEBUG: '1' })
  for (const expected of [/failure\.test\.ts/, /one of them/, /another/, /a reason/])
    assert.match(whole, expected)
  assert.doesNotMatch(whole, /secret/)
})
