import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Arrivals } from '../../../src/upstream/connections/arrivals.ts'
import { heapUsed } from '../../support/heap.ts'
import { until } from '../../support/settle.ts'

const mebibyte = 1024 * 1024

test('what nobody takes any more is held no longer, nor what still comes, and its sender is held back as before', async () => {
  const gone = new Set<string>()
  const registry = new FinalizationRegistry((name: string) => gone.add(name))
  const arrivals = new Arrivals()
  const write = (name: string): void => {
    const chunk = Buffer.alloc(mebibyte)
    registry.register(chunk, name)
    arrivals.write(chunk)
  }
  write('arrived')
  await new Promise(setImmediate)
  arrivals.leave()
  write('late')
  await until(() => {
    heapUsed()
    return gone.size === 2
  })
  assert.equal(arrivals.take(), undefined)
  let taken = 0
  const count = (): void => {
    taken += 1
  }
  for (let chunk = 0; chunk < 10; chunk += 1) arrivals.write(Buffer.alloc(mebibyte), count)
  await new Promise(setImmediate)
  assert.ok(taken < 3, `${taken} of 10`)
})
