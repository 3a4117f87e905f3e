// The house behind a satellite line of satellite.test.ts, with the newest Docker, which asks for referrers as well.
import { test } from 'node:test'
import { testSatellite } from './support/satellite.ts'

test('a satellite line, Docker 29 through the forward proxy of the house', { timeout: 240_000 }, (t) =>
  testSatellite(t, { way: 'proxy', release: '29' }),
)
