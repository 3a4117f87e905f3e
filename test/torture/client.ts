import { type Pulled, pull } from '../support/client.ts'
import { blobOf, buildImage, pseudoRandomBytes, type TestBlob, type TestImage } from '../support/images.ts'
import { type Answered, pushManifest, type SendOptions, send, withDigest } from '../support/push.ts'
import type { Random } from './random.ts'
import type { Shelf } from './shelf.ts'

/** A shelf is kept small: the oldest goes. */
const imagesKept = 6
const tags = ['v1', 'v2', 'latest'] as const

export interface ClientOptions {
  readonly shelf: Shelf
  readonly random: Random
  /** Milliseconds for which what no manifest names is kept. */
  readonly graceMs: number
  /** Layers that several clients push. */
  readonly shared: readonly TestBlob[]
  /** Repositories of others, which have some of these. */
  readonly others: readonly string[]
  /** Is told of each promise that the server breaks. */
  readonly onProblem: (problem: string) => void
  /** Is told of each request that was answered. */
  readonly onAnswered: () => void
}

/** A client with a repository of its own, which does one thing after the other until its server is gone. */
export class Client {
  readonly #options: ClientOptions
  #url = ''
  #made = 0
  /** What was acknowledged so far. */
  readonly counts = { pushes: 0, deletes: 0, pulls: 0, resumed: 0, refused: 0 }

  constructor(options: ClientOptions) {
    this.#options = options
  }

  get shelf(): Shelf {
    return this.#options.shelf
  }

  /** Works with the server at `url` until that is gone. `goesOn`: asked before each step; false ends it as well. */
  async work(url: string, goesOn = async () => true): Promise<void> {
    this.#url = `${url}/v2/${this.shelf.name}`
    this.shelf.touched.clear()
    try {
      while (await goesOn()) await this.#step()
    } catch (error) {
      if (!isConnectionLost(error)) throw error
    }
  }

  async #step(): Promise<void> {
    const { random } = this.#options
    const { images, uploads } = this.shelf
    const image = images.length > 0 ? random.oneOf(images) : undefined
    if (images.length > imagesKept && image) return this.#deleteManifest(image)
    const chance = random.next()
    if (uploads.length > 0 && chance < 0.2) return this.#goOn()
    if (chance < 0.3) return this.#beginUpload()
    if (!image || chance < 0.65) return this.#pushImage()
    if (chance < 0.75) return this.#pullImage(image)
    if (chance < 0.82) return this.#putManifest(image, performance.now())
    if (chance < 0.88) return this.#deleteTag()
    if (chance < 0.94) return this.#deleteManifest(image)
    return this.#deleteBlob()
  }

  async #pushImage(): Promise<void> {
    const { random, shared } = this.#options
    this.#made += 1
    const own = `${this.shelf.name} ${this.#made} ${random.next()}`
    const image = buildImage({
      layers: [1 + random.below(60_000), ...(random.isLikely(0.5) ? [random.oneOf(shared)] : [])],
      seed: own,
    })
    const askedAt = performance.now()
    for (const blob of [image.config, ...image.layers]) await this.#pushBlob(blob)
    await this.#putManifest(image, askedAt)
  }

  /** `promisedAt`: when the first of its blobs was asked for, in milliseconds. */
  async #putManifest(image: TestImage, promisedAt: number): Promise<void> {
    const { shelf, random, graceMs } = this.#options
    const tag = random.oneOf(tags)
    const isThere = shelf.images.includes(image)
    const before = shelf.copy()
    shelf.put(image, tag, false)
    const put = await pushManifest(this.#url, tag, image.manifest)
    this.#options.onAnswered()
    if (put.status === 201) {
      shelf.put(image, tag, true)
      this.counts.pushes += 1
      return
    }
    // A push that takes longer than its grace is refused, and changes nothing.
    const isLate = performance.now() - promisedAt > graceMs * 0.75
    if (put.code !== 'MANIFEST_BLOB_UNKNOWN' || !isLate || isThere)
      this.#report(`a manifest was refused: ${put.status} ${put.text}`)
    this.counts.refused += 1
    shelf.tags.set(tag, before.tags.get(tag) ?? new Set([undefined]))
    const former = before.manifests.get(image.manifest.digest)
    if (former) shelf.manifests.set(image.manifest.digest, former)
    else shelf.manifests.delete(image.manifest.digest)
  }

  async #pushBlob(blob: TestBlob): Promise<void> {
    const { random, others, shelf } = this.#options
    shelf.deleted.delete(blob.digest)
    shelf.touch(blob.digest)
    if (random.isLikely(0.6)) {
      const { status } = await this.#send('HEAD', `${this.#url}/blobs/${blob.digest}`, [200, 404])
      if (status === 200) return
    }
    const way = random.oneOf(['post', 'put', 'patch', 'chunks', 'mount', 'mount'])
    const uploads = `${this.#url}/blobs/uploads/`
    const { bytes } = blob
    if (way === 'post') {
      await this.#send('POST', withDigest(uploads, blob.digest), [201], { body: bytes })
      return
    }
    const query = way === 'mount' ? `?mount=${blob.digest}&from=${random.oneOf(others)}` : ''
    const begun = await this.#send('POST', uploads + query, [201, 202])
    if (begun.status === 201) return
    const url = new URL(begun.headers.location ?? '', this.#url).href
    const pieces = way === 'patch' ? 1 : way === 'chunks' ? 3 : 0
    const size = Math.ceil(bytes.length / (pieces || 1))
    for (let at = 0; pieces > 0 && at < bytes.length; at += size) {
      const piece = bytes.subarray(at, at + size)
      await this.#send('PATCH', url, [202], { body: piece, headers: rangeOf(at, piece) })
    }
    await this.#send('PUT', withDigest(url, blob.digest), [201], pieces > 0 ? {} : { body: bytes })
  }

  /** An upload that is left in the middle. */
  async #beginUpload(): Promise<void> {
    const { random, shelf } = this.#options
    if (shelf.uploads.length >= 3) return this.#goOn()
    const blob = blobOf(pseudoRandomBytes(2000 + random.below(300_000), `${shelf.name} ${random.next()}`))
    const begun = await this.#send('POST', `${this.#url}/blobs/uploads/`, [202])
    const upload = { path: begun.headers.location ?? '', blob, acknowledged: 0, isEnding: false }
    shelf.uploads.push(upload)
    const piece = blob.bytes.subarray(0, 2 + random.below(blob.size - 2))
    const url = new URL(upload.path, this.#url)
    await this.#send('PATCH', url, [202], { body: piece, headers: rangeOf(0, piece) })
    upload.acknowledged = piece.length
  }

  /** Goes on with an upload, perhaps one of an earlier process. */
  async #goOn(): Promise<void> {
    const { random, shelf } = this.#options
    const upload = random.oneOf(shelf.uploads)
    const url = new URL(upload.path, this.#url)
    const state = await this.#send('GET', url, [204, 404])
    // An upload without a byte says "0-0"; none is left with a single one.
    const last = state.status === 404 ? 0 : Number(state.headers.range?.split('-')[1])
    const here = last === 0 ? 0 : last + 1
    if (here < upload.acknowledged && !upload.isEnding)
      this.#report(`an upload lost what was acknowledged: ${here} of ${upload.acknowledged} bytes`)
    const { blob } = upload
    const done = () => shelf.uploads.splice(shelf.uploads.indexOf(upload), 1)
    if (state.status === 404) {
      done()
      return
    }
    upload.isEnding = true
    if (here === 0) {
      await this.#send('DELETE', url, [204])
      done()
      return
    }
    const rest = blob.bytes.subarray(here)
    const headers = rest.length > 0 ? rangeOf(here, rest) : {}
    await this.#send('PUT', withDigest(url.href, blob.digest), [201], { body: rest, headers })
    done()
    const { status, digest } = await pullWhole(`${this.#url}/blobs/${blob.digest}`)
    if (status === 200 && digest !== blob.digest) this.#report(`wrong bytes of ${blob.digest}`)
    this.counts.resumed += 1
  }

  async #pullImage(image: TestImage): Promise<void> {
    for (const problem of await problemsOf(this.#url, image)) this.#report(problem)
    this.counts.pulls += 1
  }

  async #deleteTag(): Promise<void> {
    const { random, shelf } = this.#options
    const tag = random.oneOf(tags)
    shelf.deleteTag(tag, false)
    await this.#send('DELETE', `${this.#url}/manifests/${tag}`, [202, 404])
    shelf.deleteTag(tag, true)
    this.counts.deletes += 1
  }

  async #deleteManifest(image: TestImage): Promise<void> {
    const { shelf } = this.#options
    shelf.deleteManifest(image, false)
    await this.#send('DELETE', `${this.#url}/manifests/${image.manifest.digest}`, [202])
    shelf.deleteManifest(image, true)
    this.counts.deletes += 1
  }

  /** Pushes a blob that no manifest names, and deletes it. */
  async #deleteBlob(): Promise<void> {
    const { random, shelf } = this.#options
    const blob = blobOf(pseudoRandomBytes(1 + random.below(5000), `${shelf.name} ${random.next()}`))
    await this.#pushBlob(blob)
    // 404: it was collected.
    await this.#send('DELETE', `${this.#url}/blobs/${blob.digest}`, [202, 404])
    shelf.deleted.add(blob.digest)
    this.counts.deletes += 1
  }

  async #send(
    method: string,
    url: string | URL,
    expected: readonly number[],
    options?: SendOptions,
  ): Promise<Answered> {
    const answered = await send(method, url, options)
    this.#options.onAnswered()
    if (!expected.includes(answered.status))
      this.#report(`${method} ${String(url)}: ${answered.status} ${answered.text}`)
    return answered
  }

  #report(problem: string): void {
    this.#options.onProblem(`${this.shelf.name}: ${problem}`)
  }
}

/** What is wrong with an image that has to be there. `repository`: its URL. */
export async function problemsOf(repository: string, image: TestImage): Promise<string[]> {
  const problems: string[] = []
  const { digest } = image.manifest
  const manifest = await pullWhole(`${repository}/manifests/${digest}`)
  if (manifest.status !== 200) problems.push(`manifest ${digest}: ${manifest.status} ${manifest.text}`)
  else if (manifest.digest !== digest) problems.push(`wrong bytes of manifest ${digest}`)
  for (const blob of [image.config, ...image.layers]) {
    const pulled = await pullWhole(`${repository}/blobs/${blob.digest}`)
    if (pulled.status !== 200)
      problems.push(`blob ${blob.digest} of ${digest}: ${pulled.status} ${pulled.text}`)
    else if (pulled.digest !== blob.digest) problems.push(`wrong bytes of blob ${blob.digest}`)
  }
  return problems
}

/** Rejects where the server was killed in the middle. */
export async function pullWhole(url: string): Promise<Pulled> {
  const pulled = await pull(url)
  if (pulled.isComplete) return pulled
  throw Object.assign(new Error('the answer was cut'), { code: 'ECONNRESET' })
}

/** Whether its server was killed in the middle of a request. */
export function isConnectionLost(error: unknown): boolean {
  const { code, cause } = error as NodeJS.ErrnoException
  if (cause !== undefined && isConnectionLost(cause)) return true
  return ['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ERR_STREAM_PREMATURE_CLOSE'].includes(code ?? '')
}

function rangeOf(start: number, piece: Uint8Array) {
  return { 'content-range': `${start}-${start + piece.length - 1}` }
}
