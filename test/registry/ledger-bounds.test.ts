import assert from 'node:assert/strict'
import { test } from 'node:test'
import { heapUsed } from '../support/heap.ts'
import { buildImage, type TestBlob } from '../support/images.ts'
import { beginLedger, idleMs } from './ledger-fixture.ts'

const image = buildImage({ layers: [1000, 2000] })
const [first, second] = image.layers as [TestBlob, TestBlob]

test('thousands of clients and enormous manifests: memory is bounded, and what is pushed out is told', (t) => {
  const { pulls, manifest, blob, tick } = beginLedger(t)
  const layers = Array.from({ length: 1500 }, (_, index) => {
    const digest = `sha256:${index.toString(16).padStart(64, '0')}`
    return { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size: 5 }
  })
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, config: { ...layers[0] }, layers }))
  const enormous = { ...image.manifest, digest: first.digest, bytes, size: bytes.length }
  const before = heapUsed()
  for (let client = 0; client < 1500; client += 1) {
    const asked = { client: `10.1.${client >> 8}.${client & 255}` }
    manifest('latest', { manifest: enormous }, { asked })()
    blob(second, { asked })()
  }
  for (let tag = 0; tag < 5000; tag += 1) manifest(`t${tag}`, image)()
  const grown = heapUsed() - before
  assert.ok(grown < 40e6, `${Math.round(grown / 1e6)} MB`)
  assert.ok(pulls.length > 1000 && pulls.length < 1500, `${pulls.length}`)
  tick(2 * idleMs)
  assert.equal(pulls.length, 1500)
  assert.deepEqual(new Set(pulls.map(({ outcome }) => outcome)), new Set(['finished']))
})

test('a crawler that asks for thousands of tags at once of one repository is followed within bounds', (t) => {
  const { pulls, manifest, blob, tick } = beginLedger(t)
  const running = Array.from({ length: 20_000 }, (_, tag) => manifest(`t${tag}`, image))
  const blobs = Array.from({ length: 1000 }, () => blob(first))
  for (const end of [...running, ...blobs]) end()
  tick(2 * idleMs)
  assert.ok(pulls.length >= 1)
})

test('of one repository sixteen pulls are followed: with one more the oldest that rests is told', (t) => {
  const { pulls, manifest, blob } = beginLedger(t)
  for (let tag = 0; tag < 16; tag += 1) {
    manifest(`t${tag}`, image)()
    blob(first)()
  }
  assert.equal(pulls.length, 0)
  manifest('one more', image)()
  assert.deepEqual(
    pulls.map(({ reference }) => reference),
    ['t0'],
  )
})

test('while nobody asks for anything no clock runs', (t) => {
  const { manifest, tick } = beginLedger(t)
  const begun = t.mock.method(globalThis, 'setInterval')
  for (let time = 1; time <= 2; time += 1) {
    manifest('latest', image, { asked: { isHead: true } })()
    assert.equal(begun.mock.callCount(), time)
    tick(2 * idleMs)
  }
})
