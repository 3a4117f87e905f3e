import assert from 'node:assert/strict'
import { test } from 'node:test'
import { clientKey } from '../../src/http/client-address.ts'

for (const [remoteAddress, key] of [
  ['192.0.2.7', '192.0.2.7'],
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2::1', '2001:db8:1:2::/64'],
  ['2001:db8:1:3::1', '2001:db8:1:3::/64'],
  ['fe80::1%eth0', 'fe80::%eth0/64'],
  [undefined, 'unix socket'],
] as const) {
  test(`${remoteAddress ?? 'a Unix socket'} counts as ${key}`, () => {
    assert.equal(clientKey({ remoteAddress }), key)
  })
}
