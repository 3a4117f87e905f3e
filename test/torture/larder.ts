import pino, { type Logger } from 'pino'
import { createApp } from '../../src/app.ts'
import { loadConfig } from '../../src/config/load.ts'

/** Milliseconds for which a blob is kept that no manifest names: shorter than anybody may set it. */
export const graceMs = 1000

/** A whole Larder on a folder, with an upstream that is never there; only its errors are told unless `logger` hears all. */
export async function openLarder(
  directory: string,
  { logger = pino({ level: 'error' }, pino.destination({ fd: 2, sync: true })) }: { logger?: Logger } = {},
): Promise<AsyncDisposable & { readonly port: number }> {
  const { config } = await loadConfig({
    environment: {},
    workingDirectory: directory,
    overrides: {
      'server.listen': '127.0.0.1:0',
      'storage.dir': directory,
      upstreams: [{ name: 'docker.io', url: 'http://127.0.0.1:9' }],
    },
  })
  const app = await createApp({
    config: { ...config, local: { ...config.local, collectAfter: graceMs } },
    logger,
    environment: {},
    version: 'torture',
    settleMs: 0,
  })
  const [port = 0] = await app.listen()
  return { port, [Symbol.asyncDispose]: () => app[Symbol.asyncDispose]() }
}
