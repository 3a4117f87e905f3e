import assert from 'node:assert/strict'
import { resolve } from 'node:path'
import { type TestContext, test } from 'node:test'
import { run } from '../support/child-process.ts'
import { meets } from '../support/programs.ts'
import { dockerPrograms } from './support/docker-daemon.ts'
import type { SceneReport } from './support/satellite-scene.ts'

/**
 * A house far away: a TCP handshake takes a second, a round trip 600 ms, connections that are idle are reset, a
 * certificate authority of the house stands in the system's store only, and what leaves the house goes through a
 * forward proxy, save what NO_PROXY names by its network. Clients are real; nothing is set but what the README says.
 *
 * Neighbours: without a proxy; the proxy's own connections are as slow; idle connections to the registry, to its
 * token service and to its storage; a cut in the middle of a layer, twice; the line gone altogether; an address of a
 * NO_PROXY network beside names that no network can hold.
 */
const scene = resolve(import.meta.dirname, 'support/satellite-scene.ts')

const required = {
  programs: [...dockerPrograms, 'busybox', 'ip', 'iptables', 'mount', 'openssl', 'unshare'],
  root: true,
} as const

for (const way of ['direct', 'proxy'] as const) {
  const name = way === 'direct' ? 'straight over the line' : 'through the forward proxy of the house'
  test(`a satellite line, ${name}`, { timeout: 240_000 }, async (t) => {
    if (!meets(t, required)) return
    await judge(t, await play(way), way)
  })
}

async function play(way: 'direct' | 'proxy'): Promise<SceneReport> {
  const by = [['unshare', '--net', '--mount', '--propagation=private']] as const
  const printed = await run('node', [scene, way], {
    by,
    environment: { HOME: '/nonexistent' },
    timeoutMs: 220_000,
  })
  return JSON.parse(printed.trim().split('\n').at(-1) ?? '')
}

async function judge(t: TestContext, report: SceneReport, way: 'direct' | 'proxy'): Promise<void> {
  t.diagnostic(JSON.stringify(report))
  await t.test('the first pull succeeds, and goes nowhere else', () => {
    assert.ok(report.handshakeMs >= 990, `the handshake took ${report.handshakeMs} ms`)
    assert.deepEqual(report.first.failure, undefined)
    assert.deepEqual(report.attempts, [])
  })
  await t.test('the second pull asks nobody', () => {
    assert.deepEqual(report.second.failure, undefined)
    assert.equal(report.second.upstreamRequests, 0)
    assert.ok(report.second.ms < 5000, `${report.second.ms} ms`)
  })
  await t.test('every idle connection is reset: the next new tag comes at its first try', () => {
    assert.deepEqual(report.afterReset.failure, undefined)
    assert.equal(report.circuitOpened, false)
  })
  await t.test(
    'the line is cut twice in the middle of a layer: the pull goes on, and no byte comes twice',
    () => {
      assert.deepEqual(report.cut.failure, undefined)
      assert.equal(report.cut.cuts, 2)
      assert.ok(report.cut.received <= report.cut.size * 1.01, `${report.cut.received} of ${report.cut.size}`)
    },
  )
  await t.test('the line is gone: what was pulled before is pulled again', () => {
    assert.deepEqual(report.gone.failure, undefined)
    assert.ok(report.gone.ms < 5000, `${report.gone.ms} ms`)
  })
  await t.test('what is in the house is reached without the line and without the proxy', () => {
    assert.equal(report.house.failure, undefined)
    assert.deepEqual(
      report.proxied.filter((target) => target.startsWith('127.')),
      [],
    )
    assert.equal(report.proxied.length > 0, way === 'proxy')
  })
}
