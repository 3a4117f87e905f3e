#!/usr/bin/env -S MALLOC_ARENA_MAX=1 node
// Everything else is imported once it is known that this Node can: older ones end with a stack in the middle of it.
import { tooOld } from './cli/node-version.ts'

const complaint = tooOld(process.version)
if (complaint !== undefined) {
  process.stderr.write(complaint)
  process.exit(2)
}

const { beginLean } = await import('./cli/lean-process.ts')
const onStarted = beginLean([...process.execArgv, process.env.NODE_OPTIONS ?? ''])

const { stopOnSignals } = await import('./cli/signals.ts')
const { stdin, stdout, stderr } = process
const stop = stopOnSignals({
  source: process,
  hasTerminal: [stdin, stdout, stderr].some(({ isTTY }) => isTTY),
})

// Whoever reads the log may go, or its disk fill up: that is no reason to stop serving.
for (const stream of [stdout, stderr]) stream.on('error', () => {})

const { tellUncaught } = await import('./cli/last-resort.ts')
// A rejection that nobody listens to comes here too.
process.on('uncaughtException', (error) => process.exit(tellUncaught(error)))

const { larder } = await import('./cli/larder.ts')
process.exit(
  await larder({
    arguments: process.argv.slice(2),
    stdout,
    stderr,
    environment: process.env,
    workingDirectory: process.cwd(),
    stop,
    onStarted,
  }),
)
