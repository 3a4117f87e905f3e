import pino, { type Logger } from 'pino'
import { createApp } from '../../src/app.ts'
import { loadConfig } from '../../src/config/load.ts'
import { memoryChecks } from '../support/memory-checks.ts'

/** Milliseconds for which a blob is kept that no manifest names: shorter than anybody may set it. */
export const graceMs = 1000
/** What a cache may have that is tortured: it is evicted and read through all the time. */
export const cacheBytes = 1_000_000
export const busyCache = { 'cache.maxSize': cacheBytes, 'cache.minFree': 0, 'cache.scrub': '1s' }

export interface LarderOptions {
  /** Hears all; only errors are told unless it is set. */
  readonly logger?: Logger
  /** Its URL; there is none unless it is set. */
  readonly upstream?: string
  /** More of the configuration, in the form of mirror.yml. */
  readonly config?: Readonly<Record<string, unknown>>
}

/** A whole Larder on a folder. */
export async function openLarder(
  directory: string,
  {
    logger = pino({ level: 'error' }, pino.destination({ fd: 2, sync: true })),
    upstream = 'http://127.0.0.1:9',
    config: more,
  }: LarderOptions = {},
): Promise<AsyncDisposable & { readonly port: number }> {
  const { config } = await loadConfig({
    environment: {},
    workingDirectory: directory,
    overrides: {
      'server.listen': '127.0.0.1:0',
      'storage.dir': directory,
      upstreams: [{ name: 'docker.io', url: upstream }],
      ...more,
    },
  })
  const app = await createApp({
    config: { ...config, local: { ...config.local, collectAfter: graceMs } },
    logger,
    environment: memoryChecks,
    version: 'torture',
    settleMs: 0,
    probeMs: 100,
  })
  const [port = 0] = await app.listen()
  return { port, [Symbol.asyncDispose]: () => app[Symbol.asyncDispose]() }
}
