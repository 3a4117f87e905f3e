import { once } from 'node:events'
import { type App, createApp } from '../app.ts'
import { loadConfig } from '../config/load.ts'
import { createLogger } from '../logging/logger.ts'
import { wantsColors, withoutWaiting } from '../logging/terminal.ts'
import { humanDuration } from '../units/human.ts'
import type { CommandLine } from './command-line.ts'
import { problemLines } from './config.ts'
import { thisMachine, welcome } from './welcome.ts'

export interface ServeOptions {
  readonly config?: string
  readonly listen?: string
  readonly data?: string
  readonly version: string
}

/**
 * `larder serve`: runs the mirror until `line.stop` aborts, then lets running transfers finish within the grace.
 * Log lines go to stdout, what is meant for the person who started it to stderr. Throws ConfigError, and the
 * errors of the file system and the network that keep it from starting.
 */
export async function serve(line: CommandLine, options: ServeOptions): Promise<void> {
  const { environment, workingDirectory, stdout, stderr, stop } = line
  const loaded = await loadConfig({
    file: options.config,
    environment,
    workingDirectory,
    overrides: { 'server.listen': options.listen, 'storage.dir': options.data },
  })
  stderr.write(problemLines(loaded.warnings))
  const { config } = loaded
  const isTerminal = 'isTTY' in stdout && stdout.isTTY === true
  const colors = wantsColors(environment, isTerminal)
  using _ = isTerminal ? withoutWaiting(stdout) : undefined
  const logger = createLogger({ ...config.log, destination: stdout, isTerminal, colors })
  await using log = new AsyncDisposableStack()
  // What was logged last is read as well, by whoever reads.
  log.defer(() => new Promise<void>((resolve) => logger.flush(() => resolve())))
  await using app = await createApp({ config, logger, environment, version: options.version })
  line.onStarted?.()
  const ports = await app.listen()
  const machine = thisMachine(environment)
  stderr.write(await welcome({ loaded, ports, version: options.version, machine }))
  // Not awaited: the mirror serves what it has, whether or not there is a line.
  for (const upstream of app.upstreams) {
    upstream.check().then(({ state, sentence, isWell }) => {
      // Told when it was found out, as at any other time.
      if (state === 'unreachable') return
      logger[isWell ? 'info' : 'warn']({ upstream: upstream.name }, `upstream ${sentence}`)
    })
  }
  if (!stop.aborted) await once(stop, 'abort')
  const stoppingAt = performance.now()
  logger.info(app.underWay, `stopping: ${farewell(app.underWay, humanDuration(config.server.shutdownGrace))}`)
  await app[Symbol.asyncDispose]()
  logger.info({ ms: Math.round(performance.now() - stoppingAt) }, 'stopped')
}

/** What a stop waits for, and what it leaves for later. */
function farewell({ requests, fills }: App['underWay'], grace: string): string {
  const sentences = [
    requests === 0
      ? 'no request is under way'
      : `${count(requests, 'request')} under way: up to ${grace} to finish, or a second signal ends it`,
    ...(fills === 0
      ? []
      : [`${count(fills, 'download')} not whole: what is here is kept, the rest comes later`]),
  ]
  return sentences.join('; ')
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}
