import { parseArgs } from 'node:util'
import { parseRate, parseSize } from '../../src/units/notation.ts'

export interface DemoOptions {
  /** Bytes of the image's layers, all together. */
  readonly size: number
  /** How many pull at a time. */
  readonly machines: number
  /** Bytes a second of the line, for everybody together. */
  readonly bytesPerSecond: number
  readonly roundTripMs: number
}

const maximumMachines = 64
const smallestSize = 1_000_000
/** That the image needs the line for: it is cut in the middle of a smaller one. */
const shortestSeconds = 0.3

export const usage = `npm run demo -- [--size 50MB] [--machines 8] [--rate 20Mbit/s] [--round-trip 100]

In three parts: several machines pull an image at once over a simulated slow line, with Larder and without it;
the line is cut while they pull another one; the registry is gone. Nothing outside this machine is asked for
anything, and nothing stays. With the defaults it takes three minutes, nearly all of them for what goes without
Larder; with --size 5MB half a minute.

  --size        of the image, such as 50MB
  --machines    how many pull at a time (--clients is the same), 1 to ${maximumMachines}
  --rate        of the line, shared by all, such as 20Mbit/s or 2MB/s
  --round-trip  milliseconds there and back

On a terminal it draws; elsewhere, and with TERM=dumb, it writes lines. NO_COLOR is honored.
`

/** Reads the command line; undefined where help is asked for. Throws with a message for whoever typed it. */
export function parseDemoOptions(parameters: readonly string[]): DemoOptions | undefined {
  const { values } = parseArgs({
    args: [...parameters],
    options: {
      size: { type: 'string', default: '50MB' },
      machines: { type: 'string' },
      clients: { type: 'string' },
      rate: { type: 'string', default: '20Mbit/s' },
      'round-trip': { type: 'string', default: '100' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help) return undefined
  const size = parseSize(values.size)
  if (size < smallestSize) throw new Error('--size: an image of 1MB is the smallest')
  const bytesPerSecond = parseRate(values.rate)
  if (bytesPerSecond === undefined) throw new Error('--rate: without a limit there is nothing to see')
  if (size / bytesPerSecond < shortestSeconds) {
    throw new Error('--size: over a line as fast as that it would be there before there is anything to see')
  }
  return {
    size,
    bytesPerSecond,
    machines:
      values.machines === undefined && values.clients !== undefined
        ? wholeNumber('--clients', values.clients, 1, maximumMachines)
        : wholeNumber('--machines', values.machines ?? '8', 1, maximumMachines),
    roundTripMs: wholeNumber('--round-trip', values['round-trip'], 0, 5000),
  }
}

function wholeNumber(name: string, text: string, least: number, most: number): number {
  const number = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN
  if (number >= least && number <= most) return number
  throw new Error(`${name}: expected a number from ${least} to ${most}; got ${text}`)
}
