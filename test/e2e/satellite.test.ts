import { test } from 'node:test'
import { testSatellite } from './support/satellite.ts'

/**
 * A house far away: a TCP handshake takes a second, a round trip 600 ms, connections that are idle are reset, a
 * certificate authority of the house stands in the system's store only, and what leaves the house goes through a
 * forward proxy, save what NO_PROXY names by its network. Clients are real; nothing is set but what the README says.
 *
 * Neighbours: without a proxy; the proxy's own connections are as slow; idle connections to the registry, to its
 * token service and to its storage; a cut in the middle of a layer, twice; the line gone altogether; an address of a
 * NO_PROXY network beside names that no network can hold.
 */
const ways = { direct: 'straight over the line', proxy: 'through the forward proxy of the house' } as const

// They mostly wait, each in a network of its own.
test('a satellite line', { concurrency: true, timeout: 240_000 }, async (t) => {
  await Promise.all([
    t.test(ways.direct, (scene) => testSatellite(scene, { way: 'direct', release: 'machine' })),
    t.test(ways.proxy, (scene) => testSatellite(scene, { way: 'proxy', release: 'machine' })),
  ])
})
