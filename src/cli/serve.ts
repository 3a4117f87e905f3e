import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { networkInterfaces } from 'node:os'
import { createApp } from '../app.ts'
import type { ListenAddress } from '../config/listen-address.ts'
import { type LoadedConfig, loadConfig } from '../config/load.ts'
import { createLogger } from '../logging/logger.ts'
import type { CommandLine } from './command-line.ts'
import { problemLines } from './config.ts'

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
  const logger = createLogger({ ...config.log, destination: stdout, isTerminal })
  await using app = await createApp({ config, logger, environment, version: options.version })
  const ports = await app.listen()
  stderr.write(await welcome(loaded, ports, options.version))
  // Not awaited: the mirror serves what it has, whether or not there is a line.
  for (const upstream of app.upstreams) {
    upstream.checkReachable().then(() => {
      const state = upstream.isReachable ? 'answers' : 'cannot be reached: serving what is cached'
      logger.info({ upstream: upstream.name }, `upstream ${state}`)
    })
  }
  if (!stop.aborted) await once(stop, 'abort')
  const grace = config.server.shutdownGrace / 1000
  logger.info(
    `stopping: running transfers have ${grace} s to finish, or a second signal ends them; what is not whole goes on later`,
  )
}

async function welcome(loaded: LoadedConfig, ports: readonly number[], version: string): Promise<string> {
  const { config, file } = loaded
  const { bavail, bsize } = await statfs(config.storage.dir)
  const scheme = config.server.tls ? 'https' : 'http'
  const [port = 5000] = ports
  const own = `${scheme}://${addressOf(config.server.listen[0])}:${port}`
  const upstreams = config.upstreams.map(({ name }) => name).join(', ')
  const daemon = JSON.stringify({ 'registry-mirrors': [own] })
  return `
larder ${version}  pull-through mirror of ${upstreams}
  data     ${config.storage.dir}  (${Math.round((bavail * bsize) / 1e9)} GB free)
  config   ${file ?? 'none, all defaults (mirror.yml, or MIRROR_* variables)'}
  listens  ${own}/v2/

  Next, on every machine that runs Docker: put this into /etc/docker/daemon.json
           ${daemon}
  and run  sudo systemctl reload docker
  Then     docker pull debian:bookworm-slim
  Or try it on this machine at once, without changing anything:
           docker pull 127.0.0.1:${port}/debian:bookworm-slim

`
}

/** How other machines reach this one, as far as can be told from here. */
function addressOf(listen: ListenAddress | undefined): string {
  const host = listen?.host
  if (host !== undefined && !/^(?:0\.0\.0\.0|::)$/.test(host)) return host.includes(':') ? `[${host}]` : host
  // Inside a container the addresses are the container's, which nobody else can reach.
  if (existsSync('/.dockerenv') || existsSync('/run/.containerenv')) return '<address of this machine>'
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
  return all.find(({ internal, family }) => !internal && family === 'IPv4')?.address ?? '127.0.0.1'
}
