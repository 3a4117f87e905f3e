import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { LentBytes } from '../../../src/flow/lent-bytes.ts'
import { Pieces } from '../../../src/flow/pieces.ts'
import { Intake, type IntakeOptions } from '../../../src/upstream/connections/intake.ts'
import { pseudoRandomBytes } from '../../support/images.ts'

const pieceSize = 1024 * 1024

function intakeOf(options: Partial<IntakeOptions> = {}) {
  const pieces = new Pieces({ isChecked: true })
  const calls = { room: 0, failures: [] as Error[] }
  const intake = new Intake({
    pieces,
    onRoom: () => {
      calls.room += 1
    },
    onFailure: (error) => void calls.failures.push(error),
    ...options,
  })
  return { intake, pieces, calls }
}

/** As a socket does: reads into what it is given, at most `most` bytes at a time. */
function readInto(intake: Intake, bytes: Uint8Array, most = bytes.length): boolean {
  let goesOn = true
  for (let done = 0; done < bytes.length; ) {
    const part = bytes.subarray(done, done + Math.min(most, intake.tail().length))
    intake.tail().set(part)
    done += part.length
    goesOn = intake.filled(part.length)
  }
  return goesOn
}

function taken(lent: LentBytes | undefined): Buffer | undefined {
  if (!lent) return undefined
  using held = lent
  return Buffer.from(held.bytes)
}

async function rest(intake: Intake): Promise<Buffer> {
  const parts: Buffer[] = []
  for (;;) {
    const part = taken(intake.take())
    if (part) parts.push(part)
    else if (intake.end) return Buffer.concat(parts)
    else await intake.arrival()
  }
}

test('the first bytes are there at once, the next ones when they have waited a moment or fill a piece', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { intake, pieces } = intakeOf({ length: 2 * pieceSize })
  readInto(intake, Buffer.from('head'))
  assert.equal(taken(intake.take())?.toString(), 'head')
  readInto(intake, Buffer.from('one'))
  assert.equal(intake.take(), undefined)
  readInto(intake, Buffer.from('two'))
  t.mock.timers.tick(3)
  assert.equal(taken(intake.take())?.toString(), 'onetwo')
  readInto(intake, Buffer.alloc(pieceSize))
  assert.equal(taken(intake.take())?.length, pieceSize - 10)
  assert.equal(intake.take(), undefined)
  intake.finish()
  assert.equal(taken(intake.take())?.length, 10)
  pieces[Symbol.dispose]()
})

test('whatever came and was taken before, nothing waits for more than a moment', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const sizes = fc.oneof(
    fc.integer({ min: 1, max: 20 }),
    fc.integer({ min: pieceSize - 20, max: pieceSize + 20 }),
  )
  const step = fc.oneof(
    fc.record({ is: fc.constantFrom('put', 'read'), bytes: sizes }),
    fc.record({ is: fc.constantFrom('take', 'tick'), bytes: fc.constant(0) }),
  )
  const steps = fc.array(step, { maxLength: 8 })
  const check = async (all: readonly { readonly is: string; readonly bytes: number }[]): Promise<void> => {
    const { intake, pieces } = intakeOf()
    let here = 0
    const takeAll = (): void => {
      for (let part = taken(intake.take()); part; part = taken(intake.take())) here -= part.length
    }
    for (const { is, bytes } of all) {
      here += bytes
      if (is === 'put') intake.put(Buffer.alloc(bytes))
      else if (is === 'read') readInto(intake, Buffer.alloc(bytes))
      else if (is === 'take') takeAll()
      else t.mock.timers.tick(1)
    }
    takeAll()
    t.mock.timers.tick(3)
    if (here > 0) {
      let hasArrived = false
      intake.arrival().then(() => {
        hasArrived = true
      })
      await new Promise(setImmediate)
      assert.ok(hasArrived, 'whoever waits is told')
    }
    takeAll()
    assert.equal(here, 0)
    assert.equal(intake.hasBytes, false)
    intake.finish()
    pieces[Symbol.dispose]()
  }
  await fc.assert(fc.asyncProperty(steps, check), { numRuns: 300 })
})

test('it never asks for more than the body has, and gives all of it however it comes', async () => {
  const bytes = pseudoRandomBytes(1_300_000, 'intake')
  for (const most of [bytes.length, 100_000, 16_384]) {
    const { intake, pieces } = intakeOf({ length: bytes.length })
    const reading = rest(intake)
    let done = 0
    while (!intake.isComplete) {
      assert.ok(intake.tail().length <= bytes.length - done)
      const part = bytes.subarray(done, done + Math.min(most, intake.tail().length))
      readInto(intake, part)
      done += part.length
      await new Promise(setImmediate)
    }
    intake.finish()
    assert.ok((await reading).equals(bytes))
    assert.equal(pieces.inUse, 0)
    pieces[Symbol.dispose]()
  }
})

test('with four full pieces the sender has to wait, until one is taken', () => {
  const { intake, pieces, calls } = intakeOf()
  for (let count = 1; count <= 4; count += 1)
    assert.equal(readInto(intake, Buffer.alloc(pieceSize)), count < 4, `piece ${count}`)
  // What a record of TLS still had in it comes all the same.
  assert.equal(readInto(intake, Buffer.from('more')), false)
  assert.equal(calls.room, 0)
  taken(intake.take())
  assert.equal(calls.room, 1)
  intake.finish()
  intake.leave()
  assert.equal(pieces.inUse, 0)
  pieces[Symbol.dispose]()
})

test('a piece is given back only when nobody takes any more and nothing is put into it any more', () => {
  for (const order of [
    ['leave', 'finish'],
    ['finish', 'leave'],
  ] as const) {
    const { intake, pieces } = intakeOf()
    readInto(intake, Buffer.alloc(pieceSize + 10))
    for (const step of order) {
      assert.ok(pieces.inUse > 0, step)
      intake[step]()
    }
    assert.equal(pieces.inUse, 0)
    pieces[Symbol.dispose]()
  }
})

test('after nobody takes any more what comes is dropped, and its sender held back in the end', () => {
  const { intake, pieces } = intakeOf()
  intake.leave()
  let dropped = 0
  while (intake.put(Buffer.alloc(pieceSize)) && dropped < 100) dropped += 1
  assert.ok(dropped < 10, `${dropped} pieces`)
  assert.equal(pieces.inUse, 0)
})

test('a rate is kept for all that came, one after the other, and its failure is told', async () => {
  const waiting: PromiseWithResolvers<void>[] = []
  const pace = (): Promise<void> => {
    const one = Promise.withResolvers<void>()
    waiting.push(one)
    return one.promise
  }
  const { intake, calls } = intakeOf({ length: 1_000_000, pace })
  assert.equal(intake.tail().length, 65_536)
  assert.equal(readInto(intake, Buffer.alloc(10)), false)
  assert.equal(readInto(intake, Buffer.alloc(10)), false)
  waiting.shift()?.resolve()
  await new Promise(setImmediate)
  assert.equal(calls.room, 0)
  waiting.shift()?.resolve()
  await new Promise(setImmediate)
  assert.equal(calls.room, 1)
  const error = new Error('left')
  readInto(intake, Buffer.alloc(10))
  waiting.shift()?.reject(error)
  await new Promise(setImmediate)
  assert.deepEqual(calls.failures, [error])
  intake.finish()
  intake.leave()
})
