import { setTimeout as sleep } from 'node:timers/promises'
import { pull } from '../../support/client.ts'
import type { DockerHub } from '../../support/docker-hub.ts'
import { buildImage, generatedBlob, type TestBlob, type TestImage } from '../../support/images.ts'
import { type Answered, pushManifest, send, withDigest } from '../../support/push.ts'
import { zipf } from '../../support/zipf.ts'
import { Random } from '../../torture/random.ts'

export interface CrowdOptions {
  /** The URL of the mirror. */
  readonly url: string
  readonly hub: DockerHub
  readonly seed: number
  /** Those who pull, and those who push and delete again, one thing after the other. */
  readonly pullers: number
  readonly pushers: number
  /** Images at the upstream, and the bytes of a layer at most. */
  readonly images: number
  readonly layerBytes: number
  /** Milliseconds. */
  readonly forMs: number
}

/** What came of it. */
export interface CrowdReport {
  pulls: number
  bytes: number
  hits: number
  pushed: number
  /** Refused with 507. */
  refused: number
  readonly problems: string[]
  /** Digests of what is or was pushed. */
  readonly pushedDigests: Set<string>
}

const repository = 'library/app'
/** Images that one who pushes leaves where they are. */
const keptImages = 3
const enoughProblems = 10

/** Puts images at the upstream of which each client pulls one after the other, some far more often than others. */
export class Crowd {
  readonly report: CrowdReport = {
    pulls: 0,
    bytes: 0,
    hits: 0,
    pushed: 0,
    refused: 0,
    problems: [],
    pushedDigests: new Set(),
  }
  readonly #options: CrowdOptions
  readonly #images: readonly TestImage[]

  private constructor(options: CrowdOptions, images: readonly TestImage[]) {
    this.#options = options
    this.#images = images
  }

  static async open(options: CrowdOptions): Promise<Crowd> {
    const random = new Random(options.seed)
    const images: TestImage[] = []
    for (let n = 0; n < options.images; n += 1) {
      const size = () => 1 + random.below(options.layerBytes)
      const layers: TestBlob[] = []
      for (let layer = 0; layer < 2; layer += 1)
        layers.push(await generatedBlob({ size: size(), seed: `${options.seed} ${n} ${layer}` }))
      const image = buildImage({ layers, seed: `${options.seed} ${n}` })
      options.hub.addImage(repository, undefined, image)
      images.push(image)
    }
    return new Crowd(options, images)
  }

  /** Bytes of all images. */
  get size(): number {
    return this.#images.reduce((sum, image) => sum + sizeOf(image), 0)
  }

  /** Resolves when the time is over and all have come to an end. */
  async work(): Promise<CrowdReport> {
    const { seed, pullers, pushers, forMs } = this.#options
    const until = performance.now() + forMs
    const goesOn = () => performance.now() < until && this.report.problems.length < enoughProblems
    const working = [
      ...Array.from({ length: pullers }, (_, n) => this.#pull(new Random(seed + n), goesOn)),
      ...Array.from({ length: pushers }, (_, n) => this.#push(n, new Random(seed - n - 1), goesOn)),
    ]
    await Promise.all(working)
    return this.report
  }

  async #pull(random: Random, goesOn: () => boolean): Promise<void> {
    const draw = zipf(this.#images.length, () => random.next())
    const base = `${this.#options.url}/v2/${repository}`
    while (goesOn()) {
      const image = this.#images[draw()]
      if (!image) continue
      const { mediaType, digest } = image.manifest
      await this.#pullOne(`${base}/manifests/${digest}`, image.manifest, { accept: mediaType })
      await Promise.all(
        [image.config, ...image.layers].map((blob) => this.#pullOne(`${base}/blobs/${blob.digest}`, blob)),
      )
    }
  }

  async #pullOne(url: string, blob: TestBlob, headers: Record<string, string> = {}): Promise<void> {
    const pulled = await pull(url, { headers })
    const { status, isComplete, digest, received, text } = pulled
    this.report.pulls += 1
    this.report.bytes += received
    if (pulled.headers['x-larder-cache'] === 'hit') this.report.hits += 1
    if (status === 200 && isComplete && digest === blob.digest) return
    const told = status === 200 ? (isComplete ? 'OTHER BYTES' : 'cut') : text
    this.report.problems.push(`${url}: ${status} ${told}, ${received} of ${blob.size} bytes`)
  }

  async #push(client: number, random: Random, goesOn: () => boolean): Promise<void> {
    const base = `${this.#options.url}/v2/local/app-${client}`
    const kept: TestImage[] = []
    for (let made = 0; goesOn(); made += 1) {
      const layers = [1 + random.below(this.#options.layerBytes / 2)]
      const image = buildImage({ layers, seed: `${client} ${made} ${random.next()}` })
      if (await this.#pushImage(base, image)) kept.push(image)
      const checked = kept[random.below(kept.length)]
      if (checked) await this.#check(base, checked)
      const oldest = kept.length > keptImages ? kept.shift() : undefined
      if (oldest) await this.#delete(base, oldest)
      // The others shall have something of the machine as well.
      await sleep(20)
    }
    for (const image of kept) await this.#check(base, image)
  }

  async #pushImage(base: string, image: TestImage): Promise<boolean> {
    for (const blob of [image.config, ...image.layers]) {
      this.report.pushedDigests.add(blob.digest)
      const put = await pushWhole(base, blob)
      if (put.status !== 201) return this.#refused(put)
    }
    const put = await pushManifest(base, image.manifest.digest, image.manifest)
    if (put.status !== 201) return this.#refused(put)
    this.report.pushed += 1
    return true
  }

  #refused({ status, text }: Answered): false {
    this.report.refused += 1
    if (status !== 507) this.report.problems.push(`a push was refused: ${status} ${text}`)
    return false
  }

  async #check(base: string, image: TestImage): Promise<void> {
    const { digest, mediaType } = image.manifest
    await this.#pullOne(`${base}/manifests/${digest}`, image.manifest, { accept: mediaType })
    for (const blob of [image.config, ...image.layers])
      await this.#pullOne(`${base}/blobs/${blob.digest}`, blob)
  }

  async #delete(base: string, image: TestImage): Promise<void> {
    const deletes = [
      `manifests/${image.manifest.digest}`,
      ...[image.config, ...image.layers].map(({ digest }) => `blobs/${digest}`),
    ]
    for (const path of deletes) {
      const { status, text } = await send('DELETE', `${base}/${path}`)
      if (status !== 202) this.report.problems.push(`DELETE ${path}: ${status} ${text}`)
    }
  }
}

/** POST, PATCH in chunks, PUT; a session that is refused is given up. `base`: the URL of the repository. */
async function pushWhole(base: string, blob: TestBlob): Promise<Answered> {
  const begun = await send('POST', `${base}/blobs/uploads/`)
  if (begun.status !== 202) return begun
  const session = new URL(begun.headers.location ?? '', base).href
  const patched = await send('PATCH', session, { body: [blob.bytes] })
  const put = patched.status === 202 ? await send('PUT', withDigest(session, blob.digest)) : patched
  if (put.status !== 201) await send('DELETE', session)
  return put
}

function sizeOf({ config, layers }: TestImage): number {
  return [config, ...layers].reduce((sum, { size }) => sum + size, 0)
}
