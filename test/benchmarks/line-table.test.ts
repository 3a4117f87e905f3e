import assert from 'node:assert/strict'
import { test } from 'node:test'
import { limitOf } from '../../benchmarks/line/limit.ts'
import { cellsOf, headOf } from '../../benchmarks/line/line-table.ts'
import type { Outcome } from '../../benchmarks/line/pull-row.ts'
import type { Goal, PullRow } from '../../benchmarks/line/rows.ts'

const digest = `sha256:${'0'.repeat(64)}`
const line = { bytesPerSecond: 1_000_000, roundTripMs: 100 }
const outcome = (seconds: number, bytes = 10_000_000): Outcome => ({ seconds, bytes, connections: 4 })

function cells(goal: Goal, own: readonly Outcome[]) {
  const row: PullRow = {
    number: 3,
    line,
    label: ['a line', 'an image'],
    layerSizes: [],
    clients: 1,
    goal,
    runs: { larder: 1, direct: 1, dockerRegistry: 0 },
  }
  const outcomes = new Map([
    ['direct', [outcome(20)]],
    ['Larder', own],
    ['docker-registry', [outcome(Number.POSITIVE_INFINITY)]],
  ])
  return cellsOf({ row, limitSeconds: 8, size: 10_000_000, outcomes })
}

test('the limit is all bytes at the rate of the line, and six round trips', () => {
  const blob = (size: number) => ({ digest, size })
  const image = { repository: 'a', tag: 'b', manifest: blob(1000), config: blob(9000) }
  assert.equal(limitOf({ ...image, layers: [blob(990_000), blob(1_000_000)] }, line), 2 + 0.6)
})

test('a row tells medians, ratios, and whether its goal is met', () => {
  const found = cells({ ofDirect: 0.5, ofLimit: 1.25, upstream: 1.01 }, [
    outcome(9),
    outcome(10),
    outcome(12),
  ])
  assert.equal(found.Larder, '10.00 s (9.00-12.00)')
  assert.equal(found['/ direct'], '0.50')
  assert.equal(found['/ limit'], '1.25')
  assert.equal(found.upstream, '1.00x')
  assert.equal(found['docker-registry'], '> 60 s')
  assert.equal(found[''], 'met')
})

test('each part of a goal can be missed', () => {
  assert.equal(cells({ ofDirect: 0.5 }, [outcome(10.1)])[''], 'MISSED')
  assert.equal(cells({ ofDirect: 0.6, ofLimit: 1.2 }, [outcome(10)])[''], 'MISSED')
  assert.equal(cells({ upstream: 1.01 }, [outcome(1, 10_200_000)])[''], 'MISSED')
  // Nothing was measured.
  assert.equal(cells({ ofDirect: 0.5 }, [])[''], 'MISSED')
})

test('who is not measured has no column', () => {
  assert.deepEqual(
    headOf(['Larder']).filter((name) => name.includes('build') || name.includes('docker')),
    [],
  )
  assert.deepEqual(headOf(['Larder', 'other build', 'docker-registry']).slice(3, 7), [
    ...['Larder', 'direct', 'other build', 'docker-registry'],
  ])
})
