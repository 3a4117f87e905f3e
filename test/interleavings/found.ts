import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import type { Found } from './search.ts'

/** Losses after which no more are looked for where there ought to be none. */
export const few = 20

/** Losses after which no more are looked for: it is known then that they are seen. */
export const enough = 200

export function assertNothingLost(t: TestContext, { orders, losses }: Found): void {
  t.diagnostic(`${orders} orders`)
  assert.ok(orders > 1)
  assert.deepEqual(losses, [])
}

/** Checks that the search sees what a rule that is left out costs. */
export function assertLost(t: TestContext, { orders, losses }: Found, what: RegExp): void {
  t.diagnostic(`${losses.length} of ${orders} orders lose something`)
  const isSeen = losses.some(({ problems }) => problems.some((problem) => what.test(problem)))
  assert.ok(isSeen, `no ${what} in ${orders} orders`)
}
