import { Counter, Gauge, type Registry } from 'prom-client'

/** What is measured of what clients could not have. */
export interface WantedSources {
  /** Undefined where it is not remembered. */
  readonly wanted:
    | {
        /** What is to be fetched, by the name of its upstream. */
        readonly counts: ReadonlyMap<string, number>
        /** What was, likewise. */
        readonly fulfilled: ReadonlyMap<string, number>
      }
    | undefined
}

/** Adds it to the metrics. */
export function addWantedMetrics(registers: Registry[], { wanted }: WantedSources): void {
  if (!wanted) return
  new Gauge({
    name: 'larder_wanted',
    help: 'Manifests and blobs that could not be had, and are fetched when their upstream answers again',
    labelNames: ['upstream'],
    registers,
    collect() {
      this.reset()
      for (const [upstream, count] of wanted.counts) this.set({ upstream }, count)
    },
  })
  new Counter({
    name: 'larder_wanted_fetched_total',
    help: 'Those of them that were fetched then',
    labelNames: ['upstream'],
    registers,
    collect() {
      this.reset()
      for (const [upstream, count] of wanted.fulfilled) this.inc({ upstream }, count)
    },
  })
}
