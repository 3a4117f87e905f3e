import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { storageFolder } from '../storage/files/storage-folder.ts'
import { type Pulled, type PullOptions, pull } from '../support/client.ts'
import { type DockerHub, startDockerHub } from '../support/docker-hub.ts'
import type { FaultMatcher } from '../support/hub-faults.ts'
import { pseudoRandomBytes, type TestBlob } from '../support/images.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { TlsLine } from '../support/tls-line.ts'
import { forwardProxy } from '../upstream/connections/forward-proxy.ts'
import { selfSigned } from '../upstream/fixtures.ts'

const mebibyte = 1024 * 1024

/** One of the ways in which the bytes of a blob come off a socket. */
export interface Line {
  readonly name: string
  /** Bytes of the blob. */
  readonly size: number
  /** Whether it is read straight from the socket into pieces, behind the back of Node's parser. */
  readonly isDiverted?: boolean
  readonly isChunked?: boolean
  readonly isSecure?: boolean
  readonly isTunnel?: boolean
}

export const lines: readonly Line[] = [
  { name: 'large', size: 3 * mebibyte, isDiverted: true },
  { name: 'large, TLS', size: 3 * mebibyte, isDiverted: true, isSecure: true },
  { name: 'large, without a length', size: 3 * mebibyte, isChunked: true },
  { name: 'large, TLS in a tunnel', size: 3 * mebibyte, isSecure: true, isTunnel: true },
  { name: 'small', size: 40_000 },
]

/** A mirror, and a blob that comes to it by a line. */
export interface OpenLine {
  readonly hub: DockerHub
  readonly mirror: TestMirror
  readonly blob: TestBlob
  /** Bytes of it that may be in flight at a cut. */
  readonly inFlight: number
  /** Of its answers with content. */
  readonly matcher: FaultMatcher
  pull(options?: PullOptions): Promise<Pulled>
}

export interface LineOptions {
  /** In the form of mirror.yml. */
  readonly config?: Readonly<Record<string, unknown>>
  /** Bytes, in place of those of a large line. */
  readonly size?: number
  /** PEM, in place of the authority that it is signed by. */
  readonly authority?: string
}

const certificate = await selfSigned('IP:127.0.0.1')

/** Ends with the test. */
export async function openLine(t: TestContext, line: Line, options: LineOptions = {}): Promise<OpenLine> {
  const { name, isChunked = false, isSecure = false, isTunnel = false } = line
  const size = line.size < mebibyte ? line.size : (options.size ?? line.size)
  const opened = new AsyncDisposableStack()
  t.after(() => opened.disposeAsync())
  const front = opened.use(new TlsLine(certificate))
  // Through a tunnel there is one port.
  const hub = opened.use(
    await startDockerHub({
      ...(isTunnel && { auth: 'none', cdn: false }),
      ...(isSecure && { front: (_listener, target) => front.forward(target) }),
    }),
  )
  const blob = hub.addBlob('library/app', pseudoRandomBytes(size, `${t.name} ${name}`))
  const matcher = { digest: blob.digest, method: 'GET', listener: isTunnel ? 'registry' : 'cdn' } as const
  if (isChunked) hub.fault(matcher, { contentLength: 'none' })
  const directory = await storageFolder(t)
  const ca = join(directory, 'ca.pem')
  await writeFile(ca, options.authority ?? certificate.cert)
  const proxy = isTunnel ? await forwardProxy(t, () => Number(new URL(hub.url).port)) : undefined
  const upstream = {
    name: 'docker.io',
    url: hub.url,
    ...(isSecure && { ca }),
    ...(proxy && { proxy: proxy.url }),
  }
  const config = { upstreams: [upstream], ...options.config }
  const environment = { LARDER_CHECK_MEMORY: '1' }
  const data = join(directory, 'data')
  const mirror = opened.use(await startMirror({ directory: data, config, environment }))
  return {
    hub,
    mirror,
    blob,
    inFlight: isSecure ? 512 * 1024 : 64 * 1024,
    matcher,
    pull: (how) => pull(`${mirror.url}/v2/library/app/blobs/${blob.digest}`, how),
  }
}
