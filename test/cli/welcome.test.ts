/**
 * What the person who starts it is told. Neighbours: every interface as ":5000", "0.0.0.0", "[::]", "[0::0]"; one
 * address of a network, IPv4 and IPv6; loopback as 127.0.0.1, 127.5.5.5, [::1], [::ffff:127.0.0.1], "localhost" and
 * the machine's own name that belongs to 127.0.1.1; port 0; several addresses in any order; a Unix socket alone and
 * beside a port; TLS with a name in the certificate and without; a container, with a loopback in it; a machine
 * whose first card is a bridge of containers, one with IPv6 alone, one without any network; other upstreams than
 * Docker Hub.
 */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import type { NetworkInterfaceInfo } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { Machine } from '../../src/cli/reach.ts'
import { welcome } from '../../src/cli/welcome.ts'
import { loadConfig } from '../../src/config/load.ts'
import { configFolder } from '../config/config-folder.ts'
import { selfSigned } from '../upstream/fixtures.ts'

function card(address: string): NetworkInterfaceInfo {
  const rest = { netmask: '', mac: '', internal: false, cidr: null }
  return address.includes(':')
    ? { ...rest, address, family: 'IPv6', scopeid: 0 }
    : { ...rest, address, family: 'IPv4' }
}

const machine: Machine = {
  interfaces: {
    lo: [{ ...card('127.0.0.1'), internal: true }],
    docker0: [card('172.17.0.1')],
    eth0: [card('fe80::1'), card('2001:db8::20'), card('192.168.1.20')],
  },
  isContainer: false,
  lookup: async (name) => {
    const known: Record<string, string> = {
      localhost: '127.0.0.1',
      box: '127.0.1.1',
      'box.lan': '192.168.1.20',
    }
    return known[name] ?? Promise.reject(new Error('ENOTFOUND'))
  },
}

interface Start {
  readonly listen?: unknown
  readonly ports?: readonly number[]
  readonly machine?: Partial<Machine>
  readonly config?: Readonly<Record<string, unknown>>
}

async function told(t: TestContext, { listen = ':5000', ports = [5000], config = {}, ...rest }: Start) {
  const workingDirectory = await configFolder(t)
  const loaded = await loadConfig({
    environment: {},
    workingDirectory,
    overrides: { 'server.listen': listen, 'storage.dir': workingDirectory, ...config },
  })
  const text = await welcome({ loaded, ports, version: '1.2.3', machine: { ...machine, ...rest.machine } })
  return {
    text,
    daemon: /\{"registry-mirrors":\["(.*)"\]\}/.exec(text)?.[1],
    listens: /listens {2}((?:.*\n {11})*.*)/.exec(text)?.[1]?.split(/\n {11}/),
    here: /docker pull (\S+:\d+)\//.exec(text)?.[1],
  }
}

test('every interface: the address of the network that other machines are in, and 127.0.0.1 to try', async (t) => {
  for (const listen of [':5000', '0.0.0.0:5000', '[::]:5000', '[0::0]:5000']) {
    const { daemon, listens, here } = await told(t, { listen })
    assert.equal(daemon, 'http://192.168.1.20:5000', listen)
    assert.deepEqual(listens, ['http://192.168.1.20:5000/v2/'])
    assert.equal(here, '127.0.0.1:5000')
  }
})

test('an IPv6 address stands in brackets', async (t) => {
  const { daemon, here } = await told(t, { listen: '[2001:db8::20]:5000' })
  assert.equal(daemon, 'http://[2001:db8::20]:5000')
  assert.equal(here, undefined, 'Docker takes plain HTTP from this machine alone')
  const only = { interfaces: { eth0: [card('fe80::1'), card('2001:db8::7')] } }
  assert.equal((await told(t, { machine: only })).daemon, 'http://[2001:db8::7]:5000')
})

test('port 0: the port that the system chose', async (t) => {
  const { daemon, here } = await told(t, { listen: ':0', ports: [41_234] })
  assert.deepEqual([daemon, here], ['http://192.168.1.20:41234', '127.0.0.1:41234'])
})

test('a loopback alone: it says that other machines cannot reach it, and what to set', async (t) => {
  const loopbacks = [
    ['127.0.0.1:5000', 'http://127.0.0.1:5000', '127.0.0.1:5000'],
    ['127.5.5.5:5000', 'http://127.5.5.5:5000', '127.5.5.5:5000'],
    ['[::1]:5000', 'http://[::1]:5000', 'localhost:5000'],
    ['[::ffff:127.0.0.1]:5000', 'http://[::ffff:127.0.0.1]:5000', 'localhost:5000'],
    ['localhost:5000', 'http://localhost:5000', '127.0.0.1:5000'],
    ['box:5000', 'http://box:5000', '127.0.1.1:5000'],
  ] as const
  for (const [listen, url, name] of loopbacks) {
    const { text, daemon, listens, here } = await told(t, { listen })
    assert.deepEqual([daemon, here], [url, name])
    assert.equal(listens?.[0], `${url}/v2/`)
    assert.match(listens?.[1] ?? '', /Other machines cannot reach that: for them set server\.listen.*":5000"/)
    assert.match(text, /Next, on this machine: /)
  }
})

test('several addresses: each has its line, and clients get one that they can reach', async (t) => {
  const listen = ['127.0.0.1:0', 'unix:/run/l.sock', '192.168.1.20:0', '[::1]:5002']
  const { daemon, listens, here } = await told(t, { listen, ports: [5001, 5003, 5002] })
  assert.deepEqual(listens, [
    'http://127.0.0.1:5001/v2/',
    'unix:/run/l.sock',
    'http://192.168.1.20:5003/v2/',
    'http://[::1]:5002/v2/',
  ])
  assert.equal(daemon, 'http://192.168.1.20:5003')
  assert.equal(here, '127.0.0.1:5001')
})

test('a Unix socket alone: no port is made up', async (t) => {
  const { text, daemon, listens, here } = await told(t, { listen: 'unix:/run/larder.sock', ports: [] })
  assert.deepEqual([daemon, here], [undefined, undefined])
  assert.deepEqual(listens, ['unix:/run/larder.sock'])
  assert.match(text, /curl --unix-socket \/run\/larder\.sock http:\/\/localhost\/v2\//)
  assert.doesNotMatch(text, /5000\/v2|127\.0\.0\.1/)
})

test('in a container: its own address is not given away, and the published port is spoken of', async (t) => {
  const inside = await told(t, { machine: { isContainer: true } })
  assert.equal(inside.daemon, 'http://<address of this machine>:5000')
  assert.match(inside.listens?.[1] ?? '', /container: .* the port the one that is published/)
  const loopback = await told(t, { machine: { isContainer: true }, listen: '127.0.0.1:5000' })
  assert.match(loopback.listens?.[1] ?? '', /Only this container can reach that.*":5000"/)
  const host = await told(t, { machine: { isContainer: true }, listen: '192.168.1.20:5000' })
  assert.equal(host.daemon, 'http://192.168.1.20:5000')
})

test('without any network it says so', async (t) => {
  const { listens, here } = await told(t, {
    machine: { interfaces: { lo: [], eth0: [card('169.254.3.4')] } },
  })
  assert.match(listens?.[1] ?? '', /No address of this machine on any network can be told/)
  assert.equal(here, '127.0.0.1:5000')
})

test('a host name: as it is written, since the certificate and the clients know it', async (t) => {
  const { daemon } = await told(t, { listen: 'box.lan:5000' })
  assert.equal(daemon, 'http://box.lan:5000')
})

test('TLS: https, and the name in the certificate', async (t) => {
  const folder = await configFolder(t)
  const files = { 'server.tls.certificate': join(folder, 'c.pem'), 'server.tls.key': join(folder, 'k.pem') }
  const names = [
    ['DNS:localhost,DNS:*.lan,DNS:mirror.lan', 'https://mirror.lan:5000'],
    ['DNS:localhost', 'https://192.168.1.20:5000'],
  ] as const
  for (const [subject, daemon] of names) {
    const { cert, key } = await selfSigned(subject)
    await writeFile(join(folder, 'c.pem'), cert)
    await writeFile(join(folder, 'k.pem'), key)
    assert.equal((await told(t, { config: files })).daemon, daemon)
  }
})

test('without Docker Hub there is no registry-mirrors to speak of', async (t) => {
  const { text, daemon } = await told(t, { config: { upstreams: [{ name: 'ghcr.io' }] } })
  assert.equal(daemon, undefined)
  assert.match(text, /docker pull 127\.0\.0\.1:5000\/ghcr\.io\/<name>/)
})

test('without a configuration file: where it was looked for', async (t) => {
  const { text } = await told(t, {})
  assert.match(
    text,
    /config {3}none, all defaults: looked for \/.+\/mirror\.yml, \/etc\/larder\/mirror\.yml\n/,
  )
})

test('who may push, and under which names', async (t) => {
  const line = async (config: Readonly<Record<string, unknown>>) =>
    / {2}push {5}(.*) \(local\.push/.exec((await told(t, { config })).text)?.[1]
  assert.equal(await line({}), 'the machines of private networks may, to *, local/**')
  assert.equal(await line({ 'local.push': 'off', 'local.repositories': [] }), 'nobody may, to no name')
  const folder = await configFolder(t, { users: '' })
  const users = await line({ 'auth.htpasswd': join(folder, 'users') })
  assert.equal(users, 'users with a login may, to *, local/**')
})
