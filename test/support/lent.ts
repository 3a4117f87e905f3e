import assert from 'node:assert/strict'
import { LentBytes } from '../../src/flow/lent-bytes.ts'

/** Where each hold of bytes of this process that has not ended was taken. */
const holds = new Set<Error>()

/** Lends a copy of bytes until the call that takes them has returned; then it is overwritten where nobody has taken a hold. */
export function lent(bytes: Uint8Array): LentBytes {
  const lent = checked(bytes)
  queueMicrotask(() => lent.release())
  return lent
}

/** Lends a copy of bytes until the next ones are asked for, and overwrites what nobody has taken a hold of by then. */
export function* lending(bytes: Uint8Array): Generator<LentBytes, void, undefined> {
  using lent = checked(bytes)
  yield lent
}

/** Throws where bytes that were lent are still held by somebody, with where he took his hold. */
export function assertReleased(): void {
  const [first] = holds
  assert.equal(holds.size, 0, `bytes that were lent are still held, taken ${first?.stack}`)
}

function checked(bytes: Uint8Array): LentBytes {
  const copy = Buffer.from(bytes)
  return LentBytes.whole(copy, {
    free: () => copy.fill(0xdd),
    abandon: () => {},
    onHold: () => {
      const hold = new Error('here')
      holds.add(hold)
      return () => holds.delete(hold)
    },
  })
}
