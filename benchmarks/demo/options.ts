import { parseArgs } from 'node:util'
import { parseRate, parseSize } from '../../src/config/units.ts'

export interface DemoOptions {
  /** Bytes of the image's layers, all together. */
  readonly size: number
  readonly clients: number
  /** Bytes a second of the line, for everybody together. */
  readonly bytesPerSecond: number
  readonly roundTripMs: number
}

const maximumClients = 64
const smallestSize = 100_000

export const usage = `npm run demo -- [--size 50MB] [--clients 8] [--rate 20Mbit/s] [--round-trip 100]

Pulls one image with several clients at once over a simulated slow line: through Larder, through Larder once
more, and without it. Nothing outside this machine is asked for anything.

  --size        of the image, such as 50MB
  --clients     how many pull at a time, 1 to ${maximumClients}
  --rate        of the line, shared by all, such as 20Mbit/s or 2MB/s
  --round-trip  milliseconds there and back
`

/** Reads the command line; undefined where help is asked for. Throws with a message for whoever typed it. */
export function parseDemoOptions(parameters: readonly string[]): DemoOptions | undefined {
  const { values } = parseArgs({
    args: [...parameters],
    options: {
      size: { type: 'string', default: '50MB' },
      clients: { type: 'string', default: '8' },
      rate: { type: 'string', default: '20Mbit/s' },
      'round-trip': { type: 'string', default: '100' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help) return undefined
  const size = parseSize(values.size)
  if (size < smallestSize) throw new Error('--size: an image of 100kB is the smallest')
  const bytesPerSecond = parseRate(values.rate)
  if (bytesPerSecond === undefined) throw new Error('--rate: without a limit there is nothing to see')
  return {
    size,
    bytesPerSecond,
    clients: wholeNumber('--clients', values.clients, 1, maximumClients),
    roundTripMs: wholeNumber('--round-trip', values['round-trip'], 0, 5000),
  }
}

function wholeNumber(name: string, text: string, least: number, most: number): number {
  const number = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN
  if (number >= least && number <= most) return number
  throw new Error(`${name}: expected a number from ${least} to ${most}; got ${text}`)
}
