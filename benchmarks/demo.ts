import { loseTheRegistry, outageMs, pullThePlug, pullTogether, type Stage } from './demo/acts.ts'
import { createDisplay } from './demo/display.ts'
import { type DemoOptions, parseDemoOptions, usage } from './demo/options.ts'
import { createPaint } from './demo/paint.ts'
import { larderFromSources } from './support/contenders.ts'
import type { ImageSummary } from './support/hub-control.ts'
import { HubProcess } from './support/hub-process.ts'
import { showSeconds, showSize } from './support/units.ts'

/** Shares of the image that its layers have: one large, some small, as usual. */
const layerShares = [0.44, 0.26, 0.16, 0.1, 0.04]
/** The image of the second act, against that of the first. */
const secondShare = 0.4
/** All of them under way at once: what is asked for anew while the line is cut is refused at once, by intent. */
const secondShares = [0.5, 0.3, 0.2]
/** Milliseconds, beside what the line needs. */
const startMs = 5000
const exitCodes = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const

const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  // Not once: Ctrl-C comes from the terminal and again from npm, and what is being cleaned up must not be cut short.
  process.on(signal, () => stop.abort(signal))
}
// Whoever read this has gone, as `head` does.
for (const output of [process.stdout, process.stderr]) output.on('error', () => stop.abort('SIGHUP'))
process.exitCode = await main(stop.signal)

async function main(signal: AbortSignal): Promise<number> {
  let options: DemoOptions | undefined
  try {
    options = parseDemoOptions(process.argv.slice(2))
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\nTo see what there is: npm run demo -- --help\n`)
    return 2
  }
  if (options === undefined) {
    process.stdout.write(usage)
    return 0
  }
  try {
    await play(options, signal)
    return 0
  } catch (error) {
    if (signal.aborted) {
      process.stderr.write('\nStopped: the mirror has ended and its folder is removed.\n')
      return exitCodes[signal.reason as keyof typeof exitCodes]
    }
    process.stderr.write(`The demo failed: ${messageOf(error)}\n`)
    return 1
  }
}

async function play(options: DemoOptions, signal: AbortSignal): Promise<void> {
  const { size, machines, bytesPerSecond, roundTripMs } = options
  const paint = createPaint(process.stdout, process.env)
  const write = (text: string): boolean => process.stdout.write(`${text}\n`)
  const times = estimate(options)
  const total = times.reduce((sum, time) => sum + time, startMs)
  write(`The registry, its storage and the line are simulated on this machine; Larder
is the real program. The line has ${(bytesPerSecond * 8) / 1e6} Mbit/s and a round trip of ${roundTripMs} ms.
All together ${about(total)}. Ctrl-C ends it and cleans up; --help tells how to
make it shorter.`)
  await using hub = await HubProcess.start({ bytesPerSecond, roundTripMs })
  await using bareHub = await HubProcess.start({ bytesPerSecond, roundTripMs })
  const image = await addImage(hub, 'library/demo', size, layerShares)
  await addImage(bareHub, 'library/demo', size, layerShares)
  const secondImage = await addImage(hub, 'library/another', size * secondShare, secondShares)
  await using mirror = await larderFromSources.start(hub.url)
  const display = createDisplay(process.stdout, process.env, paint)
  const stage: Stage = { mirror: mirror.url, hub, bareHub, image, secondImage, machines, display, signal }
  const acts = [
    [pullTogether, `${machines} machines pull the same image of ${showSize(size)} at once`],
    [pullThePlug, 'the plug is pulled while they pull another image'],
    [loseTheRegistry, 'the registry is gone'],
  ] as const
  const sentences: string[] = []
  for (const [index, [act, title]] of acts.entries()) {
    signal.throwIfAborted()
    write(paint('bold', `\n${index + 1} of ${acts.length}: ${title} (${about(times[index] ?? 0)})\n`))
    sentences.push(await act(stage))
  }
  const [headline = '', ...more] = sentences
  write(`\n${paint('bold', wrapped(headline))}`)
  for (const sentence of [...more, 'Every machine has compared the digest of each blob.']) {
    write(wrapped(sentence))
  }
}

/** Milliseconds of each act, by what the line can carry. */
function estimate({ size, machines, bytesPerSecond }: DemoOptions): [number, number, number] {
  const onceMs = (size / bytesPerSecond) * 1000
  return [onceMs * machines, onceMs * secondShare + outageMs, 1000]
}

function addImage(
  hub: HubProcess,
  repository: string,
  size: number,
  shares: readonly number[],
): Promise<ImageSummary> {
  const layerSizes = shares.map((share) => Math.round(size * share))
  return hub.addImage({ repository, tag: 'latest', layerSizes, seed: repository })
}

/** Between words, for a terminal; elsewhere a sentence is a line. */
function wrapped(text: string): string {
  if (!process.stdout.isTTY) return text
  const columns = Math.min(process.stdout.columns, 100)
  return text.replaceAll(new RegExp(`(.{1,${columns - 1}})(?: +|$)`, 'g'), '$1\n').trimEnd()
}

function about(milliseconds: number): string {
  return `about ${showSeconds(Math.max(1, Math.round(milliseconds / 1000)) * 1000)}`
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
