import assert from 'node:assert/strict'
import { resolve } from 'node:path'
import type { TestContext } from 'node:test'
import { run } from '../../support/child-process.ts'
import { meets } from '../../support/programs.ts'
import { type DockerRelease, meetsDocker } from './docker-daemon.ts'
import type { SceneReport } from './satellite-scene.ts'

/** How what is far away is reached. */
export type Way = 'direct' | 'proxy'

const scene = resolve(import.meta.dirname, 'satellite-scene.ts')
const programs = ['busybox', 'ip', 'iptables', 'mount', 'openssl', 'unshare'] as const

/** Pulls in a house behind a satellite line, in namespaces of its own, and judges what happened. */
export async function testSatellite(
  t: TestContext,
  { way, release }: { readonly way: Way; readonly release: DockerRelease },
): Promise<void> {
  if (!meetsDocker(t, release) || !meets(t, { programs, root: true })) return
  const by = [['unshare', '--net', '--mount', '--propagation=private']] as const
  const printed = await run('node', [scene, way, release], {
    ...{ by, timeoutMs: 220_000 },
    environment: { HOME: process.env.HOME ?? '/', XDG_CACHE_HOME: process.env.XDG_CACHE_HOME ?? '' },
  })
  await judge(t, JSON.parse(printed.trim().split('\n').at(-1) ?? ''), way)
}

async function judge(t: TestContext, report: SceneReport, way: Way): Promise<void> {
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
