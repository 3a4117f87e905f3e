// Thought of: as many descriptors as systems have, no limit at all, the fewest that anybody starts with, none left.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { frugality } from '../../src/app/frugality.ts'
import type { Config } from '../../src/config/config.ts'

const config = { cache: { readAhead: 1024, minFree: 7 }, limits: { connections: 8, retries: 3 } } as Config

/** What becomes of the settings where so many may be open, and are. */
function where(limit: number, open: number) {
  const { config: own, opensEarly } = frugality(config, { limit, open: () => open })
  assert.deepEqual([own.cache.minFree, own.limits.retries], [7, 3])
  return { readAhead: own.cache.readAhead, connections: own.limits.connections, opensEarly }
}

test('where descriptors are plenty all is as configured', () => {
  const asConfigured = { readAhead: 1024, connections: 8, opensEarly: true }
  assert.deepEqual(where(1024, 40), asConfigured)
  assert.deepEqual(where(Number.POSITIVE_INFINITY, 40), asConfigured)
})

test('where they are few nothing is fetched or connected to before it is needed, by fewer connections', () => {
  assert.deepEqual(where(256, 40), { readAhead: 0, connections: 8, opensEarly: false })
  assert.deepEqual(where(64, 30), { readAhead: 0, connections: 4, opensEarly: false })
  assert.deepEqual(where(32, 32), { readAhead: 0, connections: 1, opensEarly: false })
})
