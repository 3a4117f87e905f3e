import type { DockerHub } from '../support/docker-hub.ts'
import { generatedBlob, type TestBlob } from '../support/images.ts'
import { isConnectionLost } from './client.ts'
import { type Compared, pullCompared } from './pull-client.ts'
import type { Random } from './random.ts'

export interface DownloadCounts {
  /** Blobs that came whole. */
  whole: number
  /** Downloads that a kill cut. */
  cut: number
  /** Of the blobs that came whole. */
  bytes: number
  /** Bytes of them that crossed the line more than once. */
  again: number
  /** The most of them for one kill of a download. */
  mostAgain: number
}

export interface DownloaderOptions {
  /** For the seeds of its blobs, which nobody else has. */
  readonly name: string
  readonly hub: DockerHub
  readonly random: Random
  /** Is told of each answer that is not what was asked for. */
  readonly onProblem: (problem: string) => void
  /** Is told of each piece that comes. */
  readonly onBytes: () => void
}

interface Download {
  readonly blob: TestBlob
  /** Bytes that its client has. */
  received: number
  cuts: number
}

const repository = 'library/app'
const sizes = { least: 100_000, most: 1_500_000 }

/** A client that pulls one blob after the other, and goes on with it where it was when its server was killed. */
export class Downloader {
  readonly #options: DownloaderOptions
  #download: Download | undefined
  #begun = 0
  readonly counts: DownloadCounts = { whole: 0, cut: 0, bytes: 0, again: 0, mostAgain: 0 }

  constructor(options: DownloaderOptions) {
    this.#options = options
  }

  /** Pulls from a server until that is gone. */
  async work(url: string): Promise<void> {
    while (await this.#pull(url));
  }

  /** Pulls what is on its way to its end. */
  async finish(url: string): Promise<void> {
    if (this.#download && !(await this.#pull(url))) this.#options.onProblem('the last server is gone')
  }

  /** Returns whether the server is still there. */
  async #pull(url: string): Promise<boolean> {
    this.#download ??= await this.#begin()
    const download = this.#download
    const { blob } = download
    // Some clients begin anew, most go on where they were.
    if (this.#options.random.isLikely(0.2)) download.received = 0
    const start = download.received
    const range = start > 0 ? { start, end: blob.size - 1 } : undefined
    const onBytes = (received: number): undefined => {
      download.received = start + received
      this.#options.onBytes()
    }
    try {
      const pulled = await pullCompared(`${url}/v2/${repository}/blobs/${blob.digest}`, {
        blob,
        range,
        onBytes,
      })
      this.#judge(pulled, range ? 206 : 200)
      if (pulled.isComplete) await this.#complete(url, download)
      else this.#cut(download)
      return pulled.isComplete
    } catch (error) {
      if (!isConnectionLost(error)) throw error
      // Where nobody listened any more it was not asked for; else its server may have begun with it.
      if ((error as NodeJS.ErrnoException).code !== 'ECONNREFUSED') this.#cut(download)
      return false
    }
  }

  async #begin(): Promise<Download> {
    const { name, hub, random } = this.#options
    this.#begun += 1
    const size = sizes.least + random.below(sizes.most - sizes.least)
    const blob = await generatedBlob({ size, seed: `${name} ${this.#begun} ${random.next()}` })
    hub.addBlob(repository, blob)
    return { blob, received: 0, cuts: 0 }
  }

  #cut(download: Download): void {
    download.cuts += 1
    this.counts.cut += 1
  }

  #judge({ status, wrong }: Compared, expected: number): void {
    const { digest } = this.#download?.blob ?? {}
    if (status !== expected) this.#options.onProblem(`${digest}: ${status}, not ${expected}`)
    if (wrong !== undefined) this.#options.onProblem(`wrong bytes of ${digest}: ${wrong}`)
  }

  async #complete(url: string, { blob, cuts }: Download): Promise<void> {
    const { hub, onProblem } = this.#options
    const before = hub.bytesSent(blob.digest)
    const again = before - blob.size
    this.#download = undefined
    this.counts.whole += 1
    this.counts.bytes += blob.size
    this.counts.again += Math.max(0, again)
    if (cuts > 0) this.counts.mostAgain = Math.max(this.counts.mostAgain, again / cuts)
    if (cuts === 0 && again > 0)
      onProblem(`${before} bytes crossed the line for ${blob.size}, without a kill`)
    // What its clients got was right; so must be what is kept.
    const stored = await pullCompared(`${url}/v2/${repository}/blobs/${blob.digest}`, {
      blob,
      onBytes: () => undefined,
    })
    if (stored.isComplete && stored.digest !== blob.digest)
      onProblem(`${blob.digest} is kept with wrong bytes`)
  }
}
