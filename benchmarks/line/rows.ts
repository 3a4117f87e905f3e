import type { HubProcessOptions } from '../support/hub-control.ts'
import { megabits, megabyte } from '../support/units.ts'

/** Bytes a second in all, and the time there and back. */
export type Line = HubProcessOptions & { readonly bytesPerSecond: number; readonly roundTripMs: number }

/** What a row has to reach; what is left out is not asked for. */
export interface Goal {
  /** At most so much of the time that the same client needs without a mirror. */
  readonly ofDirect?: number
  /** At most so much of the limit of the line. */
  readonly ofLimit?: number
  /** At most so many times the image over the line. */
  readonly upstream?: number
}

/** How often whom is measured. What takes a minute, and is the same each time, is measured once. */
interface Runs {
  readonly larder: number
  readonly direct: number
  /** 0 where it cannot do what is asked. */
  readonly dockerRegistry: number
}

/** An image that nobody has, over a line. */
export interface PullRow {
  readonly number: number
  readonly line: Line
  /** The line and the image, as the table says them. */
  readonly label: readonly [line: string, what: string]
  /** In bytes. */
  readonly layerSizes: readonly number[]
  /** Who pull it at the same moment; one where it is pulled without a mirror. */
  readonly clients: number
  readonly isResuming?: boolean
  readonly goal: Goal
  readonly runs: Runs
}

const windowBytes = 128 * 1024
const slow: Line = { bytesPerSecond: megabits(20), roundTripMs: 200, windowBytes, isTls: true }
const short: Runs = { larder: 3, direct: 3, dockerRegistry: 1 }
const long: Runs = { larder: 2, direct: 1, dockerRegistry: 1 }
/** Of images as they are: one layer larger than the others. */
const shares = [0.28, 0.22, 0.2, 0.16, 0.14]

export const pullRows: readonly PullRow[] = [
  {
    number: 1,
    line: slow,
    label: ['20 Mbit/s, 200 ms', '5 layers of 50 KB'],
    layerSizes: Array<number>(5).fill(50_000),
    clients: 1,
    goal: { ofDirect: 0.45 },
    runs: short,
  },
  {
    number: 2,
    line: slow,
    label: ['20 Mbit/s, 200 ms', '3 MB in 4 layers'],
    layerSizes: layered(3, [0.5, 0.3, 0.15, 0.05]),
    clients: 1,
    goal: { ofDirect: 0.5 },
    runs: short,
  },
  {
    number: 3,
    line: slow,
    label: ['20 Mbit/s, 200 ms', '60 MB in 5 layers'],
    layerSizes: layered(60, shares),
    clients: 1,
    goal: { ofDirect: 0.68, ofLimit: 1.1 },
    runs: long,
  },
  {
    number: 4,
    line: {
      ...slow,
      bytesPerSecond: megabits(40),
      connectionBytesPerSecond: megabits(5),
      roundTripMs: 100,
    },
    label: ['40 Mbit/s in all, 5 a connection, 100 ms', 'one layer of 40 MB'],
    layerSizes: [40 * megabyte],
    clients: 1,
    goal: { ofDirect: 0.2 },
    runs: { larder: 3, direct: 1, dockerRegistry: 1 },
  },
  {
    number: 5,
    line: { ...slow, roundTripMs: 100 },
    label: ['20 Mbit/s, 100 ms', '8 clients at once, 30 MB in 5 layers, the slowest'],
    layerSizes: layered(30, shares),
    clients: 8,
    goal: { ofDirect: 0.95, upstream: 1.005 },
    runs: { larder: 3, direct: 1, dockerRegistry: 1 },
  },
  {
    number: 6,
    line: { ...slow, bytesPerSecond: megabits(40), roundTripMs: 50, cutAfterBytes: 6 * megabyte },
    label: ['40 Mbit/s, 50 ms, cut after 6 MB a connection', 'one layer of 40 MB'],
    layerSizes: [40 * megabyte],
    clients: 1,
    isResuming: true,
    goal: { ofDirect: 0.85, upstream: 1.01 },
    // It answers a range with the whole blob, and begins anew after each cut: 40 MB never come through.
    runs: { larder: 3, direct: 1, dockerRegistry: 0 },
  },
  {
    number: 7,
    line: { ...slow, lossProbability: 0.02 },
    label: ['20 Mbit/s, 200 ms, 2 % loss', '60 MB in 5 layers'],
    layerSizes: layered(60, shares),
    clients: 1,
    goal: { ofDirect: 0.5 },
    runs: long,
  },
]

function layered(megabytes: number, parts: readonly number[]): number[] {
  return parts.map((part) => Math.round(megabytes * part * megabyte))
}
