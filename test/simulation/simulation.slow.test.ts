import assert from 'node:assert/strict'
import { test } from 'node:test'
import { playSeeds } from './fleet.ts'

test('fills keep their promises in 20,000 worlds, whatever upstreams, clients, disk and process ends do', async (t) => {
  let events = 0
  const failures = await playSeeds({
    from: 1,
    seeds: 20_000,
    enough: 5,
    onShare: (share) => {
      events += share.events
    },
  })
  t.diagnostic(`${events} events`)
  const told = failures.map(
    ({ seed, problems }) => `npm run simulate -- --seed ${seed}: ${problems.join('; ')}`,
  )
  assert.deepEqual(told, [])
})
