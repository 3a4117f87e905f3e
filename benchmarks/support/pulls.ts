import { setTimeout as sleep } from 'node:timers/promises'
import { get, type Received } from './client-connection.ts'
import type { Contender } from './contenders.ts'
import type { BlobSummary, HubProcessOptions, ImageSummary } from './hub-control.ts'
import { HubProcess } from './hub-process.ts'
import type { ServerProcess } from './server-process.ts'

/** Milliseconds without a byte after which nothing is fetched any more. */
const quietMs = 300

/** What every client asks for. */
export const manifestHeaders = {
  accept:
    'application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.index.v1+json',
}

/** A mirror with an empty cache, and the registry behind it with one image. Dispose to end both. */
export interface Stage extends AsyncDisposable {
  readonly hub: HubProcess
  readonly mirror: ServerProcess
  readonly image: ImageSummary
}

export interface StageOptions extends HubProcessOptions {
  readonly layerSizes: readonly number[]
}

/**
 * Starts a mirror in front of a look-alike and asks it for the manifest, as every client does first: from then on
 * it has a token, and the blobs of that image are cold.
 */
export async function setStage(
  contender: Contender,
  { layerSizes, ...options }: StageOptions,
): Promise<Stage> {
  await using building = new AsyncDisposableStack()
  const hub = building.use(await HubProcess.start(options))
  const image = await hub.addImage({ repository: 'library/bench', tag: 'latest', layerSizes, seed: 'bench' })
  const mirror = building.use(await contender.start(hub.url))
  const manifest = await get(manifestUrl(mirror, image), { headers: manifestHeaders })
  if (manifest.status !== 200) throw new Error(`${contender.name} answered ${manifest.status} for a manifest`)
  const parts = building.move()
  return { hub, mirror, image, [Symbol.asyncDispose]: () => parts.disposeAsync() }
}

export function manifestUrl(mirror: ServerProcess, { repository, tag }: ImageSummary): string {
  return `${mirror.url}/v2/${repository}/manifests/${tag}`
}

export function blobUrl(
  mirror: ServerProcess,
  { repository }: ImageSummary,
  { digest }: BlobSummary,
): string {
  return `${mirror.url}/v2/${repository}/blobs/${digest}`
}

/** The layer at an index. Throws where there is none. */
export function layerOf({ layers }: ImageSummary, index = 0): BlobSummary {
  const layer = layers[index]
  if (!layer) throw new RangeError(`the image has no layer ${index}`)
  return layer
}

/** Whether a client got exactly the blob, as far as it compared the digest. */
export function isWhole({ status, isComplete, bytes, digest }: Received, blob: BlobSummary): boolean {
  return status === 200 && isComplete && bytes === blob.size && (digest ?? blob.digest) === blob.digest
}

/** Waits until nothing crosses the line any more, and returns the bytes that ever did. */
export async function settledTraffic({ hub }: Pick<Stage, 'hub'>, signal: AbortSignal): Promise<number> {
  for (let last = -1; ; ) {
    const { bytes } = await hub.traffic()
    if (bytes === last) return bytes
    last = bytes
    await sleep(quietMs, undefined, { signal })
  }
}
