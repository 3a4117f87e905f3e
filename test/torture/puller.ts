import { type DockerHub, startDockerHub } from '../support/docker-hub.ts'
import { buildImage, type TestBlob, type TestImage } from '../support/images.ts'
import { zipf } from '../support/zipf.ts'
import { isConnectionLost, pullWhole } from './client.ts'
import { cacheBytes } from './larder.ts'
import type { Random } from './random.ts'

const repository = 'library/app'
const imageCount = 40
/** Where the line is cut in each blob, again and again. */
const cutEveryBytes = 160_000

/** An upstream, and what there is to be pulled from it: several times what the cache of a Larder may have. */
export interface Upstream extends AsyncDisposable {
  readonly hub: DockerHub
  readonly images: readonly TestImage[]
}

export async function openUpstream(random: Random): Promise<Upstream> {
  const hub = await startDockerHub({ auth: 'none', cdn: false })
  const images = Array.from({ length: imageCount }, (_, n) => {
    const layers = [1 + random.below(5000), 1 + random.below((4 * cacheBytes) / imageCount)]
    // Some are read straight from the socket, and are not whole when somebody kills.
    if (n % 8 === 0) layers.push(200_000 + random.below(300_000))
    return buildImage({ layers, seed: `upstream ${n} ${random.next()}` })
  })
  for (const image of images) hub.addImage(repository, undefined, image)
  hub.fault({ method: 'GET', path: /\/blobs\// }, { cutEvery: cutEveryBytes })
  return { hub, images, [Symbol.asyncDispose]: () => hub[Symbol.asyncDispose]() }
}

export interface PullerOptions {
  readonly images: readonly TestImage[]
  readonly random: Random
  /** Is told of each answer that is not what was asked for. */
  readonly onProblem: (problem: string) => void
  /** Is told of each request that was answered. */
  readonly onAnswered: () => void
}

/** A client that pulls what is mirrored, some images far more often than others, until its server is gone. */
export class Puller {
  readonly #options: PullerOptions
  readonly #draw: () => number
  readonly counts = { mirrored: 0 }

  constructor(options: PullerOptions) {
    this.#options = options
    this.#draw = zipf(options.images.length, () => options.random.next())
  }

  /** See `Client.work`. */
  async work(url: string, goesOn = async () => true): Promise<void> {
    const base = `${url}/v2/${repository}`
    try {
      while (await goesOn()) {
        const image = this.#options.images[this.#draw()]
        if (!image) continue
        await this.#pull(`${base}/manifests/${image.manifest.digest}`, image.manifest)
        const blobs = [image.config, ...image.layers]
        await Promise.all(blobs.map((blob) => this.#pull(`${base}/blobs/${blob.digest}`, blob)))
        this.counts.mirrored += 1
      }
    } catch (error) {
      if (!isConnectionLost(error)) throw error
    }
  }

  async #pull(url: string, blob: TestBlob): Promise<void> {
    const pulled = await pullWhole(url)
    const { status, digest } = pulled
    this.#options.onAnswered()
    if (status !== 200) this.#options.onProblem(`${url}: ${status} ${pulled.text}`)
    else if (digest !== blob.digest) this.#options.onProblem(`wrong bytes of ${url}`)
  }
}
