import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { run } from '../support/child-process.ts'
import { meets } from '../support/programs.ts'
import { ownRoot } from './support/own-root.ts'

const needs = { programs: ['ip', 'iptables', 'mount', 'sh', 'unshare'], root: true } as const

/** The first packet of every connection is lost: each handshake takes a second. */
const slowNetwork = `
ip link set lo up
iptables -A OUTPUT -p tcp --syn -m hashlimit --hashlimit-name first --hashlimit-mode srcport,dstport --hashlimit-upto 1/min --hashlimit-burst 1 -j DROP
exec "$@"`

test('a line whose handshakes take a second, to a name with an IPv6 address without a route: a first and a second pull', {
  timeout: 120_000,
}, async (t) => {
  if (!meets(t, needs)) return
  const hosts = '127.0.0.1 localhost\n2001:db8::1 far.test\n127.0.0.1 far.test\n'
  await using root = await ownRoot({ files: { '/etc/hosts': hosts } })
  const by = [['unshare', '--net'], ...root.by, ['sh', '-c', slowNetwork, 'sh']] as const
  const child = join(import.meta.dirname, 'slow-handshake-child.ts')
  const printed = await run('node', [child], { by, beside: ['ip', 'iptables'], timeoutMs: 90_000 })
  const seen: { status: number; cache: string; ms: number }[] = JSON.parse(printed)
  assert.deepEqual(
    seen.map(({ status, cache }) => [status, cache]),
    [
      [200, 'miss'],
      [200, 'miss'],
      [200, 'miss'],
      [200, 'hit'],
    ],
  )
  // The client's own handshake, and the three of registry, token service and storage, at a second each.
  const total = seen.reduce((sum, { ms }) => sum + ms, 0)
  assert.ok(seen.every(({ ms }) => ms >= 900) && total < 15_000, JSON.stringify(seen))
})
