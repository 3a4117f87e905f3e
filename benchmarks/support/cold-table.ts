import { type Contender, dockerRegistry } from './contenders.ts'
import { median, showRange, type Table } from './table.ts'

type Bound = { readonly atMost: number } | { readonly atLeast: number }

/** One quantity of each contender, by its name, and what the first contender's median shall reach. */
export interface Measured {
  readonly label: readonly [what: string, measured: string]
  readonly values: ReadonlyMap<string, readonly number[]>
  readonly show: (value: number) => string
  /** Of the figure itself, or of what it is as a multiple of docker-registry's. */
  readonly target?: { readonly own: Bound } | { readonly ofDockerRegistry: Bound }
}

/** A table of medians with the range of what they are the medians of, and, unless told otherwise, of targets with what became of them. */
export function targetTable(
  contenders: readonly Contender[],
  measured: readonly Measured[],
  notes: readonly string[],
  { isJudged = true }: { isJudged?: boolean } = {},
): Table {
  const names = contenders.map(({ name }) => name)
  const isCompared = names.includes(dockerRegistry.name)
  const ratioHead = isCompared ? [`of ${dockerRegistry.name}'s`] : []
  return {
    head: ['what', 'measured', ...names, ...ratioHead, ...(isJudged ? ['to reach'] : [])],
    notes,
    rows: measured.map((one) => {
      const values = names.map((name) => one.values.get(name) ?? [])
      const own = median(values[0] ?? [])
      const ratio = own / median(one.values.get(dockerRegistry.name) ?? [])
      const cells = values.map((all) => showRange(all, one.show))
      return [
        ...one.label,
        ...cells,
        ...(isCompared ? [showRatio(ratio)] : []),
        ...(isJudged ? [verdict(one, own, ratio)] : []),
      ]
    }),
  }
}

function showRatio(ratio: number): string {
  return Number.isFinite(ratio) ? `${ratio.toFixed(2)}x` : ''
}

function verdict({ target, show }: Measured, own: number, ratio: number): string {
  if (!target) return ''
  if ('own' in target) return judge(target.own, own, show)
  const text = (value: number): string => `${value}x`
  return Number.isFinite(ratio) ? judge(target.ofDockerRegistry, ratio, text) : ''
}

function judge(bound: Bound, value: number, show: (value: number) => string): string {
  const isMet = 'atMost' in bound ? value <= bound.atMost : value >= bound.atLeast
  const text = 'atMost' in bound ? `<= ${show(bound.atMost)}` : `>= ${show(bound.atLeast)}`
  return isMet ? text : `${text}: MISSED`
}
