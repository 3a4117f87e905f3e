/**
 * For what a turn is, the best first: somebody waits for it; somebody will surely ask for it; it is refreshed or mended;
 * it is fetched beforehand; nobody waits for it any more.
 */
export type Priority = 'people' | 'ahead' | 'revalidation' | 'warming' | 'finishing'

/** The same, of what nobody waits for. */
export type Background = Exclude<Priority, 'people'>

/** What those who share a line out have to know of a turn on it. It is asked anew each time: clients come and go. */
export interface Turn {
  /** For whom it is; for nobody: it comes behind all that somebody waits for. */
  readonly clients: Iterable<string>
  /** For what it is while it is for nobody; `finishing` unless told. */
  readonly background?: Background | undefined
  /** Whether what it is for has another turn already. */
  readonly isFurther?: boolean
  /** Whether those that it is for have had no byte of it yet. */
  readonly isStarved?: boolean
  /** Since when bytes come, in milliseconds of `performance.now()`; undefined: none has come yet. */
  readonly receivingSince: number | undefined
  /** Bytes that came. */
  readonly bytes: number
  /** Milliseconds for which those that it is for have taken nothing, so that nothing more can come. */
  readonly restingMs: number
  /**
   * Its turn is over, since somebody else waits; `hasMore`: its client has more than its share. Returns whether its place is
   * given back now, else it is kept.
   */
  end(why: WhyOver, hasMore: boolean): boolean
}

/**
 * Why a turn ends: `turn`: it had its time; `share`: its client has more than its share; `further`: what it is for has
 * another one, and somebody has none; the rest is worth less than any other turn: `unwanted`: nobody waits for what it
 * brings; `resting`: nobody takes it; `trickle`: it brings next to nothing.
 */
export type WhyOver = 'turn' | 'share' | 'further' | 'unwanted' | 'resting' | 'trickle'

const priorities: readonly Priority[] = ['people', 'ahead', 'revalidation', 'warming', 'finishing']
/** Milliseconds. */
const restMs = 1000

/** What a turn is for at this moment, as a number: less is better, 0 are people. */
export function priorityOf({ clients, background = 'finishing' }: Turn): number {
  for (const _ of clients) return 0
  return priorities.indexOf(background)
}

/** The place of a turn in the queue: less is better. Behind those of its priority comes what has another one already. */
export function rankOf(turn: Turn): number {
  return 2 * priorityOf(turn) + (turn.isFurther ? 1 : 0)
}

/** Whether two ranks are of the same priority. */
export function isSamePriority(rank: number, other: number): boolean {
  return Math.floor(rank / 2) === Math.floor(other / 2)
}

/** Whether what has this priority lets the line to whoever is better, and is no mere filler of free places beside them. */
export function givesWay(priority: number): boolean {
  return priority > priorities.indexOf('ahead')
}

/** Whether nothing of it can come, since nobody takes it. */
export function isResting({ restingMs }: Turn): boolean {
  return restingMs > restMs
}
