import assert from 'node:assert/strict'
import { until } from '../../support/settle.ts'
import type { LarderProcess } from './larder-process.ts'

/** Waits for the one line of the log about a pull, asserts that it is of this image's `latest`, finished, and returns it. */
export async function onePull(
  larder: LarderProcess,
  expected: string,
  expectedDigest: string,
): Promise<ReturnType<LarderProcess['pulls']>[number]> {
  await until(() => larder.pulls().length === 1, { timeoutMs: 10_000 })
  const [pulled] = larder.pulls()
  assert.ok(pulled)
  const { repository, reference, digest, outcome } = pulled
  assert.deepEqual(
    { repository, reference, digest, outcome },
    { repository: expected, reference: 'latest', digest: expectedDigest, outcome: 'finished' },
  )
  return pulled
}
