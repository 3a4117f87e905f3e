import { Gauge, type Registry } from 'prom-client'
import { addGauge, addTotal } from './metric-kinds.ts'

/** Blobs, and the bytes of them. */
interface Amount {
  readonly bytes: number
  readonly blobs: number
}

/** What is measured of the disk and of what is on it. */
export interface DiskSources {
  /** Of the disk that holds the data folder; undefined where it does not tell. */
  readonly disk: () => Promise<
    | {
        readonly freeBytes: number
        readonly bytes: number
        readonly freeInodes: number
        readonly inodes: number
      }
    | undefined
  >
  /** How the disk is, and how it may be. */
  readonly storage: { readonly state: string; readonly states: readonly string[] }
  /** What is stored, as far as it was counted. */
  readonly stored: () => Amount
  /** What was collected so far of what was pushed. */
  readonly collected: Amount
}

/** Adds them to the metrics. */
export function addDiskMetrics(registers: Registry[], sources: DiskSources): void {
  const { disk, storage, stored, collected } = sources
  const gauge = addGauge.bind(undefined, registers)
  const total = addTotal.bind(undefined, registers)
  gauge('larder_cache_bytes', 'Bytes of the blobs that are stored', () => stored().bytes)
  gauge('larder_cache_blobs', 'Blobs that are stored', () => stored().blobs)
  total(
    'larder_collected_blobs_total',
    'Pushed blobs that were removed since no manifest had named them for long enough',
    () => collected.blobs,
  )
  total('larder_collected_bytes_total', 'Bytes of these', () => collected.bytes)
  const ofDisk = 'of the disk that holds the data folder'
  gauge('larder_disk_free_bytes', `Free bytes ${ofDisk}`, async () => (await disk())?.freeBytes)
  gauge('larder_disk_size_bytes', `Bytes ${ofDisk}`, async () => (await disk())?.bytes)
  gauge('larder_disk_free_inodes', `Free inodes ${ofDisk}`, async () => (await disk())?.freeInodes)
  gauge('larder_disk_inodes', `Inodes ${ofDisk}: a file takes one`, async () => (await disk())?.inodes)
  new Gauge({
    name: 'larder_storage_state',
    help: '1 for how the disk is: well, or why what is new is not kept',
    labelNames: ['state'],
    registers,
    collect() {
      for (const state of storage.states) this.set({ state }, state === storage.state ? 1 : 0)
    },
  })
}
