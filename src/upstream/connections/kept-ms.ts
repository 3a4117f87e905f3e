/** Milliseconds that a connection is kept without a use, as Go's clients keep it; routers on the way forget it later. */
export const idleMs = 90_000
/** Milliseconds before the other end closes it: what is sent in that moment crosses with the end. */
const marginMs = 1000

/** Milliseconds for which a connection may be used again, by the `Keep-Alive` of its last answer, as Node's agents read it. */
export function keptMs(hint: string | string[] | undefined): number {
  const [, seconds] = /^timeout=(\d+)/.exec(String(hint ?? '')) ?? []
  return seconds === undefined ? idleMs : Math.min(idleMs, Math.max(0, Number(seconds) * 1000 - marginMs))
}
