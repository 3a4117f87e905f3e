import { LentBytes } from '../../src/flow/lent-bytes.ts'

/** Bytes of a test, which are its own. */
export function lent(bytes: Uint8Array): LentBytes {
  return LentBytes.of(bytes)
}

/** Lends a copy of bytes until the next ones are asked for, and overwrites what nobody has taken a hold of by then. */
export function* lending(bytes: Uint8Array): Generator<LentBytes, void, undefined> {
  const copy = Buffer.from(bytes)
  using lent = LentBytes.whole(copy, { free: () => copy.fill(0xdd), abandon: () => {} })
  yield lent
}
