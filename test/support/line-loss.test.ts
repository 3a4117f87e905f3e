import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PacketLoss, packetBytes } from './line-loss.ts'

/** Of each packet in turn, whether it is lost. */
function lossesOf(loss: PacketLoss, bytes: Buffer): boolean[] {
  return loss
    .split(bytes)
    .flatMap((piece) => Array<boolean>(Math.ceil(piece.bytes.length / packetBytes)).fill(piece.isLost))
}

test('of many packets the share is lost that was asked for, each by itself', () => {
  const losses = lossesOf(new PacketLoss(0.02, 7), Buffer.alloc(200_000 * packetBytes))
  const lost = losses.filter(Boolean).length
  assert.equal(losses.length, 200_000)
  assert.ok(Math.abs(lost - 4000) < 300, `${lost} of 200,000`)
  // Behind a lost packet the next one is lost as often as any.
  const twice = losses.filter((isLost, index) => isLost && losses[index + 1]).length
  assert.ok(Math.abs(twice - 80) < 45, `${twice} in a row`)
})

test('the seed decides which ones', () => {
  const bytes = Buffer.alloc(5000 * packetBytes)
  const of = (seed: number) => lossesOf(new PacketLoss(0.1, seed), bytes)
  assert.deepEqual(of(3), of(3))
  assert.notDeepEqual(of(3), of(4))
})

test('what is split is the same bytes in the same order, and a lost piece is one packet at most', () => {
  const loss = new PacketLoss(0.3, 5)
  for (const size of [1, packetBytes, packetBytes + 1, 64 * 1024]) {
    const bytes = Buffer.from(Array.from({ length: size }, (_, index) => index % 251))
    const pieces = loss.split(bytes)
    assert.deepEqual(Buffer.concat(pieces.map((piece) => piece.bytes)), bytes)
    for (const piece of pieces) assert.ok(piece.bytes.length <= packetBytes || !piece.isLost)
  }
})

test('a small message is a packet as any other', () => {
  const loss = new PacketLoss(0.5, 11)
  const lost = Array.from({ length: 2000 }, () => loss.split(Buffer.from('a'))).filter(
    ([piece]) => piece?.isLost,
  )
  assert.ok(Math.abs(lost.length - 1000) < 150, `${lost.length} of 2000`)
})

test('none is lost, or all', () => {
  const bytes = Buffer.alloc(10 * packetBytes)
  assert.deepEqual(lossesOf(new PacketLoss(0, 1), bytes), Array(10).fill(false))
  assert.deepEqual(lossesOf(new PacketLoss(1, 1), bytes), Array(10).fill(true))
})
