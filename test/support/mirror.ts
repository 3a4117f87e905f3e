import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { type App, createApp } from '../../src/app.ts'
import type { Config } from '../../src/config/config.ts'
import { loadConfig } from '../../src/config/load.ts'
import { createLogger } from '../../src/logging/logger.ts'
import { memoryChecks } from './memory-checks.ts'

export type MirrorOptions = {
  /** In the form of mirror.yml. */
  readonly config?: Readonly<Record<string, unknown>>
  /** In place of what is configured; not checked, so that times may be shorter than anybody should set. */
  readonly limits?: Partial<Config['limits']>
  /** The URL of the upstream docker.io; `config.upstreams` wins. */
  readonly upstream?: string
  /** An existing data folder, which is then left alone; else a new one that goes with the mirror. */
  readonly directory?: string
  readonly environment?: NodeJS.ProcessEnv
  /** Milliseconds of a fill's turn while others wait. */
  readonly turnMs?: number
  /** Milliseconds without a sign of life after which a question is given up while blobs come in. */
  readonly busyPatienceMs?: number
  /** Milliseconds without a request after which a pull has ended. */
  readonly pullIdleMs?: number
  /** Milliseconds that a client waits for the headers of a blob. */
  readonly patienceMs?: number
  /** Milliseconds without anybody who comes, after which what has not begun to be fetched ahead is dropped. */
  readonly readAheadMs?: number
  /** Milliseconds after the return of an upstream within which what was wanted is fetched. */
  readonly wantedSpreadMs?: number
  /** Milliseconds between two looks at what is damaged. */
  readonly healEveryMs?: number
  /** In place of what is configured, which takes no less than a second. */
  readonly scrubMs?: number
  /** Milliseconds between two probes of the disk. */
  readonly diskProbeMs?: number
  /** Milliseconds between two looks whether a disk that failed is well again. */
  readonly probeMs?: number
  /** Milliseconds without an answer after which the disk hangs. */
  readonly diskHangsAfterMs?: number
  /** Milliseconds after which users who are missing in their file are believed to be gone. */
  readonly usersSettleMs?: number
}

/** A mirror in this process that listens on a free port of 127.0.0.1. Dispose to stop it. */
export type TestMirror = AsyncDisposable & {
  readonly app: App
  /** Without a slash at the end. */
  readonly url: string
  readonly port: number
  /** Of all addresses that it listens on. */
  readonly ports: readonly number[]
  readonly directory: string
  /** All that was logged so far. */
  log(): string
  /** The events among it, parsed; those with this message where one is given. */
  events(message?: string): readonly Record<string, unknown>[]
  /** The figure of a metric of `/metrics`, all labels added up. */
  metric(name: string): Promise<number>
}

/** Starts a mirror as `larder serve` does, with its log kept in memory. */
export async function startMirror(options: MirrorOptions = {}): Promise<TestMirror> {
  if (options.directory !== undefined) return start(options.directory, options)
  const directory = await mkdtemp(join(tmpdir(), 'larder-'))
  try {
    return await start(directory, options)
  } catch (error) {
    await rm(directory, { recursive: true, force: true })
    throw error
  }
}

async function start(directory: string, options: MirrorOptions): Promise<TestMirror> {
  const { config } = await loadConfig({
    environment: {},
    workingDirectory: directory,
    overrides: {
      'server.listen': '127.0.0.1:0',
      'storage.dir': directory,
      // Tests count what an upstream is asked: where it is not what they are about, only what clients ask is.
      'cache.readAhead': 0,
      ...(options.upstream === undefined
        ? {}
        : { upstreams: [{ name: 'docker.io', url: options.upstream }] }),
      ...options.config,
    },
  })
  const lines: string[] = []
  const destination = new PassThrough()
  destination.setEncoding('utf8').on('data', (line: string) => lines.push(line))
  const logger = createLogger({ level: 'debug', format: 'json', destination, isTerminal: false })
  const app = await createApp({
    config: {
      ...config,
      limits: { ...config.limits, ...options.limits },
      cache: { ...config.cache, ...(options.scrubMs === undefined ? {} : { scrub: options.scrubMs }) },
    },
    healEveryMs: options.healEveryMs,
    readAheadMs: options.readAheadMs,
    wantedSpreadMs: options.wantedSpreadMs,
    ...(options.scrubMs === undefined ? {} : { settleMs: 0 }),
    logger,
    environment: { ...memoryChecks, ...options.environment },
    version: 'test',
    turnMs: options.turnMs,
    busyPatienceMs: options.busyPatienceMs,
    usersSettleMs: options.usersSettleMs,
    diskProbeMs: options.diskProbeMs,
    probeMs: options.probeMs,
    diskHangsAfterMs: options.diskHangsAfterMs,
    ...(options.pullIdleMs === undefined ? {} : { pullIdleMs: options.pullIdleMs }),
    ...(options.patienceMs === undefined ? {} : { patienceMs: options.patienceMs }),
  })
  const ports = await app.listen().catch(async (error) => {
    await app[Symbol.asyncDispose]()
    throw error
  })
  const [port = 0] = ports
  const url = `http://127.0.0.1:${port}`
  return {
    app,
    url,
    port,
    ports,
    directory,
    log: () => lines.join(''),
    events: (message) =>
      lines
        .join('')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Record<string, unknown>)
        .filter(({ msg }) => message === undefined || msg === message),
    metric: (name) => readMetric(`${url}/metrics`, name),
    async [Symbol.asyncDispose]() {
      await app[Symbol.asyncDispose]()
      if (options.directory === undefined) await rm(directory, { recursive: true, force: true })
    },
  }
}

/** Adds up the samples of a metric over all its labels. */
export async function readMetric(url: string, name: string): Promise<number> {
  const text = await (await fetch(url)).text()
  const samples = text
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
  return samples.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0)
}
