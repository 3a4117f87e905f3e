import assert from 'node:assert/strict'
import { resolve } from 'node:path'
import { ChildServer, type Finished, finish, type RunOptions } from '../../support/child-process.ts'
import { readMetric } from '../../support/mirror.ts'
import { until } from '../../support/settle.ts'
import { scratchFolder } from './scratch-folder.ts'

/** The program as it is in the source tree. */
export const sourceEntry = resolve(import.meta.dirname, '../../../src/main.ts')

export type LarderOptions = {
  /** In the form of mirror.yml. */
  readonly upstreams?: readonly Readonly<Record<string, unknown>>[]
  /** An existing data folder, which is then left alone; else a new one that goes with the process. */
  readonly directory?: string
  /** Further variables, such as MIRROR_LIMITS_RATE. */
  readonly environment?: Readonly<Record<string, string>>
  /** The file that Node runs; that of the source tree unless set. */
  readonly entry?: string
  /** What Node is told before that file. */
  readonly nodeOptions?: readonly string[]
  /** As in `RunOptions`. */
  readonly by?: RunOptions['by']
}

/** One line of the log about a request. */
export type LoggedRequest = {
  readonly method: string
  readonly url: string
  readonly status: number
  /** X-Larder-Cache. */
  readonly cache?: string
}

/** The line of the log about a machine that has pulled an image. */
export type LoggedPull = {
  readonly agent: string
  readonly upstream: string
  readonly repository: string
  readonly reference?: string
  readonly digest: string
  readonly bytes: number
  readonly cachedBytes: number
  readonly lineBytes: number
  readonly outcome: string
}

/** Larder in a process of its own. Dispose to stop it, which asserts that it ends with 0. */
export type LarderProcess = AsyncDisposable & {
  readonly url: string
  readonly port: number
  /** `127.0.0.1:<port>`, for the names of images. */
  readonly host: string
  /** What it said to the person who started it. */
  readonly stderr: string
  /** All that it wrote. */
  log(): string
  /** What it logged about requests below /v2/ so far. */
  requests(): readonly LoggedRequest[]
  /** What it logged about the pulls of images so far. */
  pulls(): readonly LoggedPull[]
  /** The figure of a metric of `/metrics`, all labels added up. */
  metric(name: string): Promise<number>
  /** Waits until nothing is on its way in: clients have a blob a moment before it is stored. */
  settled(): Promise<void>
  /** Sends SIGTERM; returns the exit code. */
  stop(): Promise<number | undefined>
  /** Sends SIGUSR2; returns the exit code where that ends it. Disposing of it then asserts nothing. */
  poke(): Promise<number | undefined>
  /** `kill -9`. Disposing of it then asserts nothing. */
  kill(): Promise<void>
}

/** Starts `larder serve` on a free port and waits until it says that it is ready. */
export async function startLarder(options: LarderOptions = {}): Promise<LarderProcess> {
  await using building = new AsyncDisposableStack()
  const scratch = building.use(await scratchFolder())
  const directory = options.directory ?? `${scratch.path}/data`
  const environment = {
    HOME: scratch.path,
    MIRROR_SERVER_LISTEN: '127.0.0.1:0',
    MIRROR_STORAGE_DIR: directory,
    MIRROR_LOG_FORMAT: 'json',
    ...(options.upstreams && { MIRROR_UPSTREAMS: JSON.stringify(options.upstreams) }),
    ...options.environment,
  }
  const program = options.entry ?? sourceEntry
  const run = { environment, workingDirectory: scratch.path, ...(options.by && { by: options.by }) }
  const server = building.use(
    ChildServer.start('node', [...(options.nodeOptions ?? []), program, 'serve'], run),
  )
  const listening = /listens +http:\/\/\S+:(\d+)\/v2\//
  await server.ready(() => listening.test(server.stderr), 'says where it listens')
  const port = Number(listening.exec(server.stderr)?.[1])
  const url = `http://127.0.0.1:${port}`
  await server.ready(async () => (await fetch(`${url}/readyz`)).status === 200, 'is ready')
  const metric = (name: string) => readMetric(`${url}/metrics`, name)
  const parts = building.move()
  let isKilled = false
  return {
    url,
    port,
    host: `127.0.0.1:${port}`,
    get stderr() {
      return server.stderr
    },
    log: () => server.stdout + server.stderr,
    requests: () => loggedEvents(server.stdout).filter(({ msg }) => msg === 'request') as LoggedRequest[],
    pulls: () => loggedEvents(server.stdout).filter(({ outcome }) => outcome !== undefined) as LoggedPull[],
    metric,
    settled: () => until(async () => (await metric('larder_fills_running')) === 0, { timeoutMs: 20_000 }),
    stop: () => server.end('SIGTERM'),
    async poke() {
      isKilled = true
      return server.end('SIGUSR2')
    },
    async kill() {
      isKilled = true
      await server.end('SIGKILL')
    },
    async [Symbol.asyncDispose]() {
      await using _ = parts
      if (isKilled) return
      const code = await server.end('SIGTERM')
      assert.equal(code, 0, `larder ended with ${code}:\n${server.stdout}${server.stderr}`)
    },
  }
}

/** Runs `larder` with other parameters to its end. */
export async function larder(
  parameters: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<Finished> {
  await using scratch = await scratchFolder()
  const run = { environment: { HOME: scratch.path, ...environment }, workingDirectory: scratch.path }
  return await finish('node', [sourceEntry, ...parameters], { ...run, timeoutMs: 20_000 })
}

function loggedEvents(log: string): ({ msg?: string; outcome?: string } & object)[] {
  const lines = log.split('\n').slice(0, -1)
  return lines.map((line) => JSON.parse(line))
}
