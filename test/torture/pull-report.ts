import type { TestContext } from 'node:test'

export interface PullsReport {
  readonly problems: readonly string[]
  readonly ms: number
  /** Bytes: of all blobs; what came from upstream of them; what clients got. */
  readonly bytes: { readonly unique: number; readonly upstream: number; readonly delivered: number }
  /** How the clients fared. `cut`: not told that it was whole, and asked again. */
  readonly clients: Readonly<Record<'whole' | 'ranges' | 'left' | 'cut' | 'wrong', number>>
  /** What went wrong upstream, by kind. */
  readonly faults: Readonly<Record<string, number>>
  /** Manifests that were asked for again, and blobs of which more crossed the line, since the machine had paused. */
  readonly late: { readonly manifests: number; readonly blobs: number }
  readonly evicted: number
  readonly residentBytes: number
}

/** Tells what was done. */
export function tellPulls(t: Pick<TestContext, 'diagnostic'>, report: PullsReport): void {
  const { ms, bytes, clients, faults, late, evicted, residentBytes } = report
  const megabytes = (count: number): string => `${Math.round(count / 1e6)} MB`
  const { unique, upstream, delivered } = bytes
  t.diagnostic(
    `${megabytes(unique)} of blobs, ${megabytes(upstream)} from upstream, ${megabytes(delivered)} to clients, in ${Math.round(ms / 1000)} s`,
  )
  t.diagnostic(
    `clients: ${JSON.stringify(clients)}; ${evicted} blobs evicted; late after a pause: ${JSON.stringify(late)}; resident ${megabytes(residentBytes)}`,
  )
  t.diagnostic(`went wrong upstream: ${JSON.stringify(faults)}`)
}
