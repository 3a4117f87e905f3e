import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TrustedProxies } from '../../src/http/trusted-proxies.ts'

for (const [network, inside, outside] of [
  ['10.0.0.2', '10.0.0.2', '10.0.0.3'],
  ['10.0.0.5/8', '10.255.0.1', '11.0.0.1'],
  ['172.16.0.0/12', '172.31.255.255', '172.32.0.0'],
  ['0.0.0.0/0', '192.0.2.7', undefined],
  ['::1', '::1', '::2'],
  ['2001:db8::/32', '2001:db8:1::1', '2001:db9::1'],
  ['fe80::/10', 'fe80::1%eth0', 'fd00::1'],
  ['fe80::1%eth0', 'fe80::1%eth0', 'fe80::2%eth0'],
  ['::ffff:10.0.0.0/104', '10.1.1.1', '11.1.1.1'],
  ['unix', undefined, '127.0.0.1'],
] as const) {
  test(`${network} is ${inside ?? 'a Unix socket'}, and not ${outside ?? 'a Unix socket'}`, () => {
    const proxies = new TrustedProxies([network])
    assert.deepEqual([proxies.has(inside), proxies.has(outside), proxies.isEmpty], [true, false, false])
  })
}

test('nobody is trusted where nobody is named', () => {
  const proxies = new TrustedProxies([])
  assert.deepEqual([proxies.isEmpty, proxies.has('127.0.0.1'), proxies.has(undefined)], [true, false, false])
})
