import { Counter, type Registry } from 'prom-client'
import { addGauge } from './metric-kinds.ts'

/** What became of the fills from one upstream so far. */
interface FillCounts {
  readonly started: number
  readonly finished: number
  readonly failed: number
  readonly stopped: number
  readonly resumes: number
}

/** What is measured of blobs on their way in. */
export interface FillSources {
  /** Fills under way. */
  readonly fillCount: () => number
  /** What became of fills so far, by the name of the upstream. */
  readonly fills: ReadonlyMap<string, FillCounts>
}

/** Adds them to the metrics. */
export function addFillMetrics(registers: Registry[], { fillCount, fills }: FillSources): void {
  addGauge(registers, 'larder_fills_running', 'Blobs on their way in', fillCount)
  const counter = (
    name: string,
    help: string,
    labelNames: 'outcome'[],
    read: (counts: FillCounts, add: (labels: { outcome?: string }, value: number) => void) => void,
  ) =>
    new Counter<'upstream' | 'outcome'>({
      name,
      help,
      labelNames: ['upstream', ...labelNames],
      registers,
      collect() {
        this.reset()
        for (const [upstream, counts] of fills)
          read(counts, (labels, value) => this.inc({ upstream, ...labels }, value))
      },
    })
  counter('larder_fills_started_total', 'Blobs that were begun to be fetched', [], ({ started }, add) =>
    add({}, started),
  )
  counter(
    'larder_fills_ended_total',
    'Blobs whose fetching ended: finished, failed, stopped (what was fetched is kept)',
    ['outcome'],
    ({ finished, failed, stopped }, add) => {
      add({ outcome: 'finished' }, finished)
      add({ outcome: 'failed' }, failed)
      add({ outcome: 'stopped' }, stopped)
    },
  )
  counter(
    'larder_fill_resumes_total',
    'Times that fetching a blob went on in the middle, after a cut, a turn of others or a restart',
    [],
    ({ resumes }, add) => add({}, resumes),
  )
}
