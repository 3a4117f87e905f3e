import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { Pieces } from '../../../src/flow/pieces.ts'
import { CopiedArrivals } from '../../../src/upstream/connections/copied-arrivals.ts'

const mebibyte = 1024 * 1024

function chunkOf(size: number): Buffer {
  return Buffer.allocUnsafeSlow(size).fill('x')
}

function arrivalsInto(pieces: Pieces): CopiedArrivals {
  const arrivals = new CopiedArrivals({ pieces, pace: undefined })
  arrivals.on('error', () => {})
  return arrivals
}

async function read(arrivals: CopiedArrivals): Promise<string> {
  let text = ''
  for (;;) {
    using lent = arrivals.take()
    if (lent) text += Buffer.from(lent.bytes).toString()
    else if (arrivals.over) return text
    else await arrivals.arrival()
  }
}

test('what comes is copied, and its own memory is freed at once', async () => {
  const pieces = new Pieces({ isChecked: true })
  const arrivals = arrivalsInto(pieces)
  const chunk = chunkOf(65_536)
  arrivals.write(chunk)
  assert.equal(chunk.length, 0)
  arrivals.write('end')
  arrivals.finish()
  assert.equal(await read(arrivals), `${'x'.repeat(65_536)}end`)
  pieces[Symbol.dispose]()
})

test('what waits behind a slow taker is kept when the stream is destroyed', async () => {
  const pieces = new Pieces({ isChecked: true })
  const arrivals = arrivalsInto(pieces)
  let written = 0
  do written += mebibyte
  while (arrivals.write(chunkOf(mebibyte)))
  assert.ok(written > 2 * mebibyte && written < 8 * mebibyte, `${written} bytes were taken`)
  const error = new Error('cut')
  arrivals.destroy(error)
  await new Promise((resolve) => arrivals.once('close', resolve))
  arrivals.finish({ error })
  assert.equal((await read(arrivals)).length, written)
  pieces[Symbol.dispose]()
})

test('a taker makes room again', async () => {
  const pieces = new Pieces({ isChecked: true })
  const arrivals = arrivalsInto(pieces)
  while (arrivals.write(chunkOf(mebibyte)));
  const drained = once(arrivals, 'drain')
  let isDrained = false
  drained.then(() => {
    isDrained = true
  })
  while (!isDrained) {
    arrivals.take()?.release()
    await new Promise(setImmediate)
  }
  arrivals.finish()
  arrivals.leave()
  pieces[Symbol.dispose]()
})

test('what nobody takes any more is given back at once, however long the stream lives on', () => {
  const pieces = new Pieces({ isChecked: true })
  const arrivals = arrivalsInto(pieces)
  arrivals.write(chunkOf(65_536))
  arrivals.leave()
  assert.equal(pieces.inUse, 0)
  arrivals.write(chunkOf(65_536))
  assert.equal(pieces.inUse, 0)
  pieces[Symbol.dispose]()
})

test('after nobody takes any more nothing is held', async () => {
  const pieces = new Pieces({ isChecked: true })
  const arrivals = arrivalsInto(pieces)
  arrivals.write(chunkOf(mebibyte))
  arrivals.leave()
  const late = chunkOf(65_536)
  arrivals.write(late)
  assert.equal(late.length, 0)
  arrivals.finish()
  assert.equal(pieces.inUse, 0)
  pieces[Symbol.dispose]()
})
