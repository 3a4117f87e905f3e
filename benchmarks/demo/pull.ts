import { createHash } from 'node:crypto'
import pLimit from 'p-limit'
import { manifestHeaders } from '../support/pulls.ts'
import { RegistrySession } from './registry-session.ts'

/** How far one client is; it changes while the client pulls. */
export interface PullProgress {
  /** Bytes of layers. */
  bytes: number
  /** Milliseconds from the start to the end; undefined before that. */
  totalMs: number | undefined
}

export interface PullRequest {
  /** Of a registry, without a slash at the end. */
  readonly base: string
  readonly repository: string
  readonly tag: string
  readonly progress: PullProgress
  readonly signal: AbortSignal
}

interface Descriptor {
  readonly digest: string
  readonly size: number
}

/** As many layers as Docker pulls at a time. */
const layersAtOnce = 3

/**
 * Pulls an image as Docker does: the manifest by its tag, then the config and the layers, each compared with its
 * digest. Throws where anything is missing or wrong.
 */
export async function pull({ base, repository, tag, progress, signal }: PullRequest): Promise<void> {
  const startedAt = performance.now()
  const session = new RegistrySession(base, signal)
  const answer = await session.get(`${repository}/manifests/${tag}`, manifestHeaders)
  const manifest = (await answer.json()) as { config: Descriptor; layers: readonly Descriptor[] }
  const fetchBlob = async (blob: Descriptor, onBytes: (count: number) => void): Promise<void> => {
    const response = await session.get(`${repository}/blobs/${blob.digest}`)
    const hash = createHash('sha256')
    for await (const chunk of response.body ?? []) {
      hash.update(chunk)
      onBytes(chunk.length)
    }
    const actual = `sha256:${hash.digest('hex')}`
    if (actual !== blob.digest) throw new Error(`${blob.digest} came as ${actual}`)
  }
  await fetchBlob(manifest.config, () => {})
  const limit = pLimit(layersAtOnce)
  const onBytes = (count: number): void => {
    progress.bytes += count
  }
  await Promise.all(manifest.layers.map((layer) => limit(() => fetchBlob(layer, onBytes))))
  progress.totalMs = performance.now() - startedAt
}

/** What is said of a manifest that cannot be had. */
export async function manifestStatus({
  base,
  repository,
  tag,
  signal,
}: Omit<PullRequest, 'progress'>): Promise<{ status: number; message: string }> {
  const url = `${base}/v2/${repository}/manifests/${tag}`
  const response = await fetch(url, { headers: manifestHeaders, signal })
  const body = (await response.json()) as { errors?: readonly { message?: string }[] }
  return { status: response.status, message: body.errors?.[0]?.message ?? '' }
}
