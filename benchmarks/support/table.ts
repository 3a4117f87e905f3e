import type { Contender } from './contenders.ts'

export interface Table {
  readonly head: readonly string[]
  readonly rows: readonly (readonly string[])[]
  /** Parameters and caveats, one line each. */
  readonly notes: readonly string[]
}

/** One line of a comparison: the same quantity of each contender, by its name. */
export interface ComparedRow {
  readonly label: readonly string[]
  readonly values: ReadonlyMap<string, readonly number[]>
  readonly show: (value: number) => string
  /** Whether more is better, which decides how the ratio is put; no ratio where it is undefined. */
  readonly better?: 'more' | 'less'
}

/** The middle value; the mean of the two in the middle of an even number. NaN where there is none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((one, other) => one - other)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

/** The median, then the lowest and the highest where they differ: `184 MB (171-191)`. */
export function showRange(values: readonly number[], show: (value: number) => string): string {
  if (values.length === 0) return ''
  const [low, high] = [show(Math.min(...values)), show(Math.max(...values))]
  const middle = show(median(values))
  return low === high ? middle : `${middle} (${withoutUnit(low)}-${withoutUnit(high)})`
}

function withoutUnit(text: string): string {
  return text.replace(/ ?[a-zA-Z/]+$/, '')
}

/**
 * A table with one column a contender, of medians, and how many times better the first one is than the second
 * (below 1: worse).
 */
export function compare(
  labels: readonly string[],
  contenders: readonly Contender[],
  rows: readonly ComparedRow[],
  notes: readonly string[],
): Table {
  const [first, second] = contenders
  const head = [...labels, ...contenders.map(({ name }) => name), ...(second ? ['times better'] : [])]
  return {
    head,
    notes,
    rows: rows.map(({ label, values, show, better }) => {
      const medians = contenders.map(({ name }) => median(values.get(name) ?? []))
      const [own = Number.NaN, other = Number.NaN] = medians
      const times = better === 'more' ? own / other : other / own
      const ratio = better === undefined || !first ? '' : showRatio(times)
      return [
        ...label,
        ...medians.map((value) => (Number.isNaN(value) ? '' : show(value))),
        ...(second ? [ratio] : []),
      ]
    }),
  }
}

/** As markdown, its columns aligned: text to the left, everything else to the right. */
export function markdown({ head, rows, notes }: Table, labelColumns = 1): string {
  const widths = head.map((_, column) =>
    Math.max(3, ...[head, ...rows].map((row) => (row[column] ?? '').length)),
  )
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => pad(cell, widths[column] ?? 0, column < labelColumns)).join(' | ')} |`
  const rule = widths.map((width, column) =>
    column < labelColumns ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`,
  )
  const table = [line(head), line(rule), ...rows.map(line)].join('\n')
  return [table, ...(notes.length > 0 ? [notes.join(' ')] : [])].join('\n\n')
}

function pad(cell: string, width: number, isLeft: boolean): string {
  return isLeft ? cell.padEnd(width) : cell.padStart(width)
}

function showRatio(times: number): string {
  if (!Number.isFinite(times)) return ''
  return times >= 100 ? times.toFixed(0) : times >= 10 ? times.toFixed(1) : times.toFixed(2)
}
