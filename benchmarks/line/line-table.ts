import { dockerRegistry, larder } from '../support/contenders.ts'
import { median, showRange } from '../support/table.ts'
import { showMultiple } from '../support/units.ts'
import { direct, givenUpSeconds, type Outcome, type PullResults } from './pull-row.ts'
import type { Goal } from './rows.ts'

/** What the table has in one row, by the heads of its columns; the others are empty. */
export type Cells = Readonly<Record<string, string>>

/** The heads of the columns, without those of contenders that are not there. */
export function headOf(names: readonly string[]): string[] {
  const others = names.filter((name) => name !== larder.name && name !== dockerRegistry.name)
  return [
    '#',
    'line',
    'what',
    larder.name,
    direct,
    ...others,
    ...(names.includes(dockerRegistry.name) ? [dockerRegistry.name] : []),
    'limit',
    '/ direct',
    '/ limit',
    'upstream',
    'connections',
    'goal',
    '',
  ]
}

/** One row of the table: medians, with the lowest and the highest. */
export function cellsOf({ row, limitSeconds, size, outcomes }: PullResults): Cells {
  const times = new Map([...outcomes].map(([name, all]) => [name, all.map(({ seconds }) => seconds)]))
  const own = outcomes.get(larder.name) ?? []
  const seconds = median(times.get(larder.name) ?? [])
  const found = {
    ofDirect: seconds / median(times.get(direct) ?? []),
    ofLimit: seconds / limitSeconds,
    upstream: median(own.map(({ bytes }) => bytes)) / size,
  }
  const connections = (all: readonly Outcome[] = []): string =>
    showRange(
      all.map((one) => one.connections),
      String,
    )
  return {
    '#': String(row.number),
    line: row.label[0],
    what: row.label[1],
    ...Object.fromEntries([...times].map(([name, values]) => [name, showRange(values, showTime)])),
    limit: showTime(limitSeconds),
    '/ direct': found.ofDirect.toFixed(2),
    '/ limit': found.ofLimit.toFixed(2),
    upstream: showMultiple(found.upstream),
    connections: `${connections(own)}, direct ${connections(outcomes.get(direct))}`,
    goal: showGoal(row.goal),
    '': verdict(isReached(row.goal, found)),
  }
}

/** Says whether a row is what was to be reached. */
export function verdict(isMet: boolean): string {
  return isMet ? 'met' : 'MISSED'
}

function isReached(goal: Goal, found: Required<Goal>): boolean {
  const { ofDirect = Infinity, ofLimit = Infinity, upstream = Infinity } = goal
  return found.ofDirect <= ofDirect && found.ofLimit <= ofLimit && found.upstream <= upstream
}

function showGoal({ ofDirect, ofLimit, upstream }: Goal): string {
  return [
    ofDirect === undefined ? [] : `<= ${ofDirect} of direct`,
    ofLimit === undefined ? [] : `<= ${ofLimit} of the limit`,
    upstream === undefined ? [] : `upstream <= ${showMultiple(upstream)}`,
  ]
    .flat()
    .join(', ')
}

function showTime(seconds: number): string {
  return Number.isFinite(seconds) ? `${seconds.toFixed(2)} s` : `> ${givenUpSeconds} s`
}
