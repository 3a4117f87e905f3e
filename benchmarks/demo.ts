import { createDisplay } from './demo/display.ts'
import { type DemoOptions, parseDemoOptions, usage } from './demo/options.ts'
import { playRound, type RoundResult } from './demo/round.ts'
import { summarize } from './demo/summary.ts'
import { larder } from './support/contenders.ts'
import { HubProcess } from './support/hub-process.ts'
import { showMegabytes } from './support/units.ts'

/** Shares of the image that its layers have: one large, some small, as usual. */
const layerShares = [0.44, 0.26, 0.16, 0.1, 0.04]

const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => stop.abort())
// Whoever read this has gone, as `head` does.
for (const output of [process.stdout, process.stderr]) output.on('error', () => stop.abort())
process.exitCode = await main(stop.signal)

async function main(signal: AbortSignal): Promise<number> {
  const results: RoundResult[] = []
  try {
    const options = parseDemoOptions(process.argv.slice(2))
    if (options) await play(options, results, signal)
    else process.stdout.write(usage)
    return 0
  } catch (error) {
    if (signal.aborted) {
      process.stderr.write('\nStopped: the mirror has ended and its folder is removed.\n')
      return 130
    }
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
    return 1
  }
}

async function play(options: DemoOptions, results: RoundResult[], signal: AbortSignal): Promise<void> {
  const { size, clients, bytesPerSecond, roundTripMs } = options
  process.stdout.write(announcement(options))
  await using hub = await HubProcess.start({ bytesPerSecond, roundTripMs })
  const layerSizes = layerShares.map((share) => Math.round(size * share))
  const image = await hub.addImage({ repository: 'library/demo', tag: 'latest', layerSizes, seed: 'demo' })
  await using mirror = await larder.start(hub.url)
  const display = createDisplay(process.stdout, process.env)
  for (const round of [
    { title: 'Larder, cold', base: mirror.url },
    { title: 'Larder, cached', base: mirror.url },
    { title: 'without a mirror', base: hub.url },
  ]) {
    signal.throwIfAborted()
    results.push(await playRound(round, { hub, image, clients, display, signal }))
  }
  process.stdout.write(`\n${summarize(results, size)}\n\nEach client has compared the digest of each blob.\n`)
}

function announcement({ size, clients, bytesPerSecond, roundTripMs }: DemoOptions): string {
  const once = size / bytesPerSecond
  const line = `${(bytesPerSecond * 8) / 1e6} Mbit/s, ${roundTripMs} ms round trip`
  return `${clients} clients pull the same image of ${showMegabytes(size)} at once, over a line of ${line}.
The registry, its storage and the line are simulated on this machine; Larder is the real program.

  1. through Larder, which has nothing yet   about ${seconds(once)}
  2. through Larder once more                at once
  3. without a mirror                        about ${seconds(once * clients)}

All together about ${seconds(once * (clients + 1) + 5)}. Ctrl-C ends it and cleans up; --help tells how to make it shorter.
`
}

function seconds(count: number): string {
  return count < 120 ? `${Math.max(1, Math.round(count))} s` : `${(count / 60).toFixed(1)} minutes`
}
