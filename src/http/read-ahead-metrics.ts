import { Counter, type Registry } from 'prom-client'

/** Manifests and blobs, and the bytes of all of them. */
interface Amount {
  readonly manifests: number
  readonly blobs: number
  readonly bytes: number
}

/** What is measured of what is fetched before a client asks for it. */
export interface ReadAheadSources {
  /** What was fetched, and what of it somebody came for, by the name of the upstream. */
  readonly readAhead: ReadonlyMap<string, { readonly fetched: Amount; readonly wanted: Amount }>
}

/** Adds it to the metrics. */
export function addReadAheadMetrics(registers: Registry[], { readAhead }: ReadAheadSources): void {
  const counters = (what: 'fetched' | 'wanted', name: string, help: string) => {
    new Counter({
      name: `${name}_total`,
      help,
      labelNames: ['upstream', 'kind'],
      registers,
      collect() {
        this.reset()
        for (const [upstream, { [what]: amount }] of readAhead) {
          this.inc({ upstream, kind: 'manifest' }, amount.manifests)
          this.inc({ upstream, kind: 'blob' }, amount.blobs)
        }
      },
    })
    new Counter({
      name: `${name}_bytes_total`,
      help: `Bytes of these: ${help.toLowerCase()}`,
      labelNames: ['upstream'],
      registers,
      collect() {
        this.reset()
        for (const [upstream, { [what]: amount }] of readAhead) this.inc({ upstream }, amount.bytes)
      },
    })
  }
  counters('fetched', 'larder_read_ahead', 'Manifests and blobs fetched before a client asked for them')
  counters('wanted', 'larder_read_ahead_wanted', 'Those among them that a client asked for then')
}
