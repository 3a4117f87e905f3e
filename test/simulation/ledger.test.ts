import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { Ledger } from './ledger.ts'

const bytes = Buffer.alloc(1000)
const ledger = (): Ledger => new Ledger({ name: 'blob 0', digest: digestOf(bytes), bytes })

test('bytes that cross again without a reason are counted, to the byte', () => {
  const traffic = ledger()
  traffic.given(0, 600, { start: 0, end: 600 })
  traffic.given(590, 1000, { start: 590, end: undefined })
  assert.equal(traffic.unexcused, 10)
})

test('what a process had beyond what it asked for and has lost may come again', () => {
  const traffic = ledger()
  traffic.given(0, 800, { start: 0, end: 300 })
  traffic.left(500)
  traffic.given(500, 800, { start: 500, end: 800 })
  assert.equal(traffic.unexcused <= 0, true)
})

test('what one has brought that was wrong before may come again once somebody comes by another one', () => {
  const traffic = ledger()
  traffic.comes('quay.io')
  assert.deepEqual(traffic.excuses, [])
  traffic.wrong('docker.io', 'a byte was wrong')
  traffic.comes('docker.io')
  assert.equal(traffic.excuses.length, 1)
  traffic.given(0, 400, { start: 0, end: undefined })
  traffic.comes('quay.io')
  assert.deepEqual(traffic.excuses.slice(1), ['400: there is a better way'])
})
