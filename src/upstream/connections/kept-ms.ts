/**
 * Milliseconds that a connection is kept without a use, unless its other end wants less. Routers on the way forget it later
 * (RFC 5382: two hours, many after five minutes), and the kernel asks every half minute whether it is still there.
 */
export const idleMs = 270_000
/** Milliseconds before the other end closes it: what is sent in that moment crosses with the end. */
const marginMs = 1000

/** Milliseconds for which a connection may be used again, by the `Keep-Alive` of its last answer, as Node's agents read it. */
export function keptMs(hint: string | string[] | undefined): number {
  const [, seconds] = /^timeout=(\d+)/.exec(String(hint ?? '')) ?? []
  return seconds === undefined ? idleMs : Math.min(idleMs, Math.max(0, Number(seconds) * 1000 - marginMs))
}
