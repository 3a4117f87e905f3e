import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type LarderProcess, startLarder } from '../e2e/support/larder-process.ts'
import { type DockerHub, startDockerHub } from '../support/docker-hub.ts'
import { TlsLine } from '../support/tls-line.ts'
import { forwardProxy } from '../upstream/connections/forward-proxy.ts'
import { selfSigned } from '../upstream/fixtures.ts'
import type { PullLine } from './pull-plan.ts'

/** Milliseconds of silence after which its Larder gives an upstream up. */
export const stallMs = 1000

export interface Received {
  readonly bytes: number
  /** Answers that brought them. */
  readonly answers: number
}

/** An upstream that is reached in three ways, and a Larder in a process of its own whose memory is checked. */
export interface PullWorld extends AsyncDisposable {
  readonly hub: DockerHub
  readonly larder: LarderProcess
  /** What its Larder has received of each blob, by the digest. What systems held of connections it closed is not in it. */
  received(): ReadonlyMap<string, Received>
  /** Names of files that are left of what was on its way. */
  left(): Promise<string[]>
}

/**
 * `folder`: an empty one. `cacheBytes`: what its cache may have. `letGoMs`: milliseconds after which who takes nothing is
 * let go; others may wait for that where a blob is handed through.
 */
export async function openPullWorld(
  folder: string,
  { cacheBytes, letGoMs }: { readonly cacheBytes: number; readonly letGoMs: number },
): Promise<PullWorld> {
  await using opening = new AsyncDisposableStack()
  const hub = opening.use(await startDockerHub({ auth: 'none', cdn: false }))
  const certificate = await selfSigned('IP:127.0.0.1')
  const ca = join(folder, 'ca.pem')
  await writeFile(ca, certificate.cert)
  const front = opening.use(new TlsLine(certificate))
  const port = Number(new URL(hub.url).port)
  const secure = await front.forward({ host: '127.0.0.1', port })
  const proxy = await forwardProxy({ after: (work) => opening.defer(work as () => Promise<void>) }, () =>
    Number(new URL(secure).port),
  )
  const upstreams: Record<PullLine, Readonly<Record<string, string>>> = {
    plain: { url: hub.url },
    TLS: { url: secure, ca },
    tunnel: { url: secure, ca, proxy: proxy.url },
  }
  const directory = join(folder, 'data')
  const larder = opening.use(
    await startLarder({
      directory,
      upstreams: Object.entries(upstreams).map(([name, upstream]) => ({
        name: upstreamName(name as PullLine),
        ...upstream,
      })),
      environment: {
        LARDER_CHECK_MEMORY: '1',
        MIRROR_LOG_LEVEL: 'debug',
        MIRROR_CACHE_MAX_SIZE: `${cacheBytes}`,
        MIRROR_CACHE_MIN_FREE: '0B',
        MIRROR_SERVER_SHUTDOWN_GRACE: '5s',
        MIRROR_LIMITS_PATIENCE: '60s',
        MIRROR_LIMITS_STALL: `${stallMs}ms`,
        MIRROR_LIMITS_DOWNLOADS: '16',
        MIRROR_LIMITS_PER_CLIENT_STALL: `${letGoMs}ms`,
      },
    }),
  )
  const open = opening.move()
  return {
    hub,
    larder,
    received: () => receivedBy(larder.log()),
    async left() {
      const names = await readdir(join(directory, 'partial')).catch(() => [])
      return names.filter((name) => !name.startsWith('.'))
    },
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  }
}

/** By which clients ask for it. */
export function upstreamName(line: PullLine): string {
  return `${line.toLowerCase()}.test`
}

function receivedBy(log: string): Map<string, Received> {
  const received = new Map<string, Received>()
  for (const line of log.split('\n')) {
    if (!line.includes('a connection has brought a part of a blob')) continue
    const part = JSON.parse(line)
    const { bytes, answers } = received.get(part.digest) ?? { bytes: 0, answers: 0 }
    received.set(part.digest, { bytes: bytes + part.bytes, answers: answers + 1 })
  }
  return received
}
