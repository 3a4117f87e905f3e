import type { Contender } from './contenders.ts'
import type { Table } from './table.ts'

/** One question and how it is answered. */
export interface Benchmark {
  readonly name: string
  readonly title: string
  /** Rejects when the signal aborts; what it started has ended by then. */
  run(setting: Setting): Promise<Table>
}

export interface Setting {
  /** Whom to measure: Larder first, then those to compare it with that are installed. */
  readonly contenders: readonly Contender[]
  /** Tiny sizes and one run, to see whether everything works. */
  readonly isQuick: boolean
  /** Which rows to measure, where a benchmark lets one choose; all where there are none. */
  readonly rows: readonly string[]
  /** Tells what is going on. */
  readonly tell: (text: string) => void
  readonly signal: AbortSignal
}

/** Measures all contenders in turn (A B A B), so that a slow minute of the machine hits both. By their name. */
export async function inTurn<Result>(
  { contenders, tell, signal }: Setting,
  { label, runs }: { label: string; runs: number },
  measure: (contender: Contender, run: number) => Promise<Result>,
): Promise<Map<string, Result[]>> {
  const results = new Map<string, Result[]>(contenders.map(({ name }) => [name, []]))
  for (let run = 0; run < runs; run += 1) {
    for (const contender of contenders) {
      signal.throwIfAborted()
      tell(`${label}: ${contender.name}, run ${run + 1} of ${runs}`)
      results.get(contender.name)?.push(await measure(contender, run))
    }
  }
  signal.throwIfAborted()
  return results
}
