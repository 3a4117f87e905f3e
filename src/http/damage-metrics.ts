import type { Registry } from 'prom-client'
import { addGauge, addLabelledTotal, addTotal } from './metric-kinds.ts'

/** What is measured of damaged blobs. */
export interface DamageSources {
  /** Blobs since the start, by what was found. */
  readonly damaged: Readonly<Record<'wrong' | 'unreadable' | 'missing', number>>
  readonly quarantined: () => { readonly blobs: number; readonly bytes: number }
  /** Blobs that were compared with their digests, beside all traffic. */
  readonly scrubbed: () => number
  /** Damaged blobs that were fetched again. */
  readonly healed: () => number
}

/** Adds them to the metrics. */
export function addDamageMetrics(registers: Registry[], sources: DamageSources): void {
  const { damaged, quarantined, scrubbed, healed } = sources
  addTotal(registers, 'larder_scrubbed_blobs_total', 'Stored blobs that the scrub has read whole', scrubbed)
  addLabelledTotal(
    registers,
    'larder_damaged_blobs_total',
    'Stored blobs that the disk has damaged, by what was found: wrong, unreadable, missing',
    'found',
    () => damaged,
  )
  addTotal(
    registers,
    'larder_healed_blobs_total',
    'Damaged blobs that were fetched again by themselves',
    healed,
  )
  addGauge(registers, 'larder_quarantined_blobs', 'Damaged blobs in quarantine', () => quarantined().blobs)
  addGauge(registers, 'larder_quarantined_bytes', 'Bytes of these', () => quarantined().bytes)
}
