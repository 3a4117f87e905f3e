import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AddressPolicy, addressRefused } from '../../../src/upstream/connections/address-policy.ts'
import { Names } from '../../../src/upstream/connections/names.ts'
import { stubNames } from './stub-names.ts'

/** The addresses that the policy lets through for a name, or the code of its error. */
async function resolved(policy: AddressPolicy, name: string): Promise<string[] | string> {
  try {
    const found = await new Names().lookup(name, new AbortController().signal)
    return policy.select(name, found).map(({ address }) => address)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? ''
  }
}

const foreign = [
  '169.254.169.254',
  '127.0.0.1',
  '127.1.2.3',
  '0.0.0.0',
  '10.0.0.1',
  '172.16.0.1',
  '192.168.1.1',
  '100.64.0.1',
  '192.0.2.1',
  '198.18.0.1',
  '224.0.0.1',
  '240.0.0.1',
  '255.255.255.255',
  '::',
  '::1',
  'fe80::1',
  'fe80::1%eth0',
  'fc00::1',
  'fd12:3456::1',
  'ff02::1',
  '::ffff:127.0.0.1',
  '::ffff:7f00:1',
  '::ffff:10.0.0.1',
  '64:ff9b::7f00:1',
  '2002:7f00:1::',
  '2001:db8::1',
  '::127.0.0.1',
  // As URL writes the one before: nothing of IPv4 is to be seen in it.
  '::7f00:1',
  '::a00:1',
  '::a9fe:a9fe',
  '64:ff9b::a9fe:a9fe',
  '64:ff9b:1::a00:1',
  '2002:a00:1::1',
  '::ffff:0:a00:1',
  '2001:0:a00:1::',
]
const open = [
  '8.8.8.8',
  '104.16.1.1',
  '172.32.0.1',
  '2606:4700::6810:1',
  '::ffff:8.8.8.8',
  '64:ff9b::808:808',
  '2002:808:808::1',
]

for (const address of foreign) {
  test(`${address} is no place for a public upstream to send us to`, async (t) => {
    stubNames(t, (name) => (name === 'registry.test' ? ['8.8.8.8'] : [address]))
    const policy = new AddressPolicy(['registry.test'])
    assert.equal(policy.allowsHost(address.includes(':') ? `[${address}]` : address), false)
    assert.equal(await resolved(policy, 'elsewhere.test'), addressRefused)
    assert.deepEqual(await resolved(policy, 'registry.test'), ['8.8.8.8'])
  })
}

for (const address of open) {
  test(`${address} is public`, async (t) => {
    stubNames(t, () => [address])
    const policy = new AddressPolicy(['registry.test'])
    assert.equal(policy.allowsHost(address.includes(':') ? `[${address}]` : address), true)
    assert.deepEqual(await resolved(policy, 'elsewhere.test'), [address])
  })
}

for (const spelling of [
  'http://127.1/',
  'http://0x7f.1/',
  'http://2130706433/',
  'http://0177.0.0.1/',
  'http://017700000001/',
  'http://127.0.0.1./',
  'http://①②⑦.0.0.1/',
  'http://[::127.0.0.1]/',
  'http://[::ffff:127.0.0.1]/',
  'http://[64:ff9b::127.0.0.1]/',
]) {
  test(`${spelling} is seen as the loopback address that it is`, () => {
    assert.equal(new AddressPolicy(['registry.test']).allowsHost(new URL(spelling).hostname), false)
  })
}

test('of a name with public and private addresses, the public ones are left', async (t) => {
  stubNames(t, () => ['10.0.0.1', '8.8.8.8', '::1', '2606:4700::1'])
  const policy = new AddressPolicy([])
  assert.deepEqual(await resolved(policy, 'mixed.test'), ['8.8.8.8', '2606:4700::1'])
})

test('a name that is public at first and private then is refused then (DNS rebinding)', async (t) => {
  const answers = [['8.8.8.8'], ['127.0.0.1']]
  stubNames(t, () => answers.shift() ?? [])
  const policy = new AddressPolicy(['registry.test'])
  assert.deepEqual(await resolved(policy, 'rebinding.test'), ['8.8.8.8'])
  assert.equal(await resolved(policy, 'rebinding.test'), addressRefused)
})

test('an upstream at a private address may send us to others of its kind, and of no other', async (t) => {
  stubNames(t, (name) => [name === 'cdn.lan' ? '192.168.7.7' : '127.0.0.1'])
  const policy = new AddressPolicy(['192.168.1.1'])
  assert.equal(policy.allowsHost('192.168.1.2'), true)
  assert.equal(policy.allowsHost('10.9.9.9'), true)
  assert.equal(policy.allowsHost('127.0.0.1'), false)
  assert.equal(policy.allowsHost('169.254.169.254'), false)
  assert.deepEqual(await resolved(policy, 'cdn.lan'), ['192.168.7.7'])
  assert.equal(await resolved(policy, 'local.test'), addressRefused)
})

test('an upstream whose name resolves to a private address opens that kind, once it is known', async (t) => {
  stubNames(t, () => ['192.168.1.1'])
  const policy = new AddressPolicy(['registry.lan'])
  assert.equal(policy.allowsHost('192.168.1.2'), false)
  assert.deepEqual(await resolved(policy, 'registry.lan'), ['192.168.1.1'])
  assert.equal(policy.allowsHost('192.168.1.2'), true)
  assert.equal(policy.allowsHost('127.0.0.1'), false)
})

test('an upstream at an IPv6 address is known with and without brackets', () => {
  const policy = new AddressPolicy(['::1'])
  assert.equal(policy.allowsHost('[::1]'), true)
  assert.equal(policy.allowsHost('127.0.0.1'), true)
  assert.equal(policy.allowsHost('[fe80::1]'), false)
})

test('a name that does not exist is an error of the resolver', async (t) => {
  stubNames(t, () => [])
  assert.equal(await resolved(new AddressPolicy(['registry.test']), 'missing.test'), 'ENOTFOUND')
})

test('the refusal names what was found', () => {
  const found = [
    { address: '10.0.0.1', family: 4 },
    { address: '127.0.0.1', family: 4 },
  ]
  const select = () => new AddressPolicy([]).select('inner.test', found)
  assert.throws(select, /inner\.test.*10\.0\.0\.1, 127\.0\.0\.1/)
})

test('a proxy at a private address opens its network to nobody', async (t) => {
  stubNames(t, (name) => (name === 'proxy.lan' ? ['10.0.0.1'] : ['10.0.0.2']))
  const policy = new AddressPolicy(['registry.test'], ['proxy.lan', '127.0.0.1'])
  assert.equal(policy.allowsHost('proxy.lan'), false)
  assert.equal(policy.allowsHost('10.0.0.1'), false)
  assert.equal(policy.allowsHost('127.0.0.1'), false)
  assert.equal(await resolved(policy, 'inner.test'), addressRefused)
})

// Behind a proxy the address is not seen here. Neighbours: one label, private domains, a dot at the end, capitals, an
// address inside the name; public names that look alike; an upstream that is itself in a private network.
const privateNames = [
  'metadata',
  'metadata.google.internal',
  'printer.local',
  'PRINTER.LOCAL.',
  'localhost',
  'a.localhost',
  'router.home.arpa',
  'nas.lan',
  '127.0.0.1.nip.io',
  'app.169.254.169.254.nip.io',
  '10-0-0-1.sslip.io',
  'app-7f000001.nip.io',
  '0a000001.nip.io.',
  'www.--1.sslip.io',
  'fd00--1.sslip.io',
  'nas.localdomain',
]

for (const name of privateNames) {
  test(`${name} is no place to send us to through a proxy, unless the upstream is at home`, () => {
    assert.equal(new AddressPolicy(['registry.test']).allowsHost(name, true), false)
    for (const own of ['registry.lan', 'registry', '10.0.0.7']) {
      assert.equal(new AddressPolicy([own]).allowsHost(name, true), true)
    }
    // Without a proxy the address decides.
    assert.equal(new AddressPolicy(['registry.test']).allowsHost(name), true)
  })
}

for (const name of [
  'cdn.test',
  'local.test',
  'lan.example',
  'ec2-3-120-1-2.compute.amazonaws.com',
  '1.2.3.example',
  'app-08080808.nip.io',
  '2606-4700--1.sslip.io',
  '0a000001.cdn.example',
]) {
  test(`${name} is a public name, through a proxy as well`, () =>
    assert.equal(new AddressPolicy(['registry.test']).allowsHost(name, true), true))
}
