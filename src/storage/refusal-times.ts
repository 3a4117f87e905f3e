/**
 * Two times in milliseconds since the epoch: now, and from when on a refusal of a repository does not count yet. One that
 * lies as far ahead of now, or further, counts: a clock that was set back makes no refusal young for as long.
 */
export interface RefusalTimes {
  readonly at: number
  readonly refusedAfter: number
}

/** Between which times a repository must have been refused for that not to count yet; both are exclusive. */
export function notYetCounting({ at, refusedAfter }: RefusalTimes): readonly [after: number, before: number] {
  return [refusedAfter, 2 * at - refusedAfter]
}
