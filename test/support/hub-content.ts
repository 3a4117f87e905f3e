import type { TestBlob, TestImage, TestIndex } from './images.ts'

type Repository = {
  readonly manifests: Map<string, TestBlob>
  readonly blobs: Map<string, TestBlob>
  readonly tags: Map<string, string>
  /** The accounts that may read it; undefined while it is public. */
  readers: ReadonlySet<string> | 'any account' | undefined
}

/** The repositories of a look-alike and what is in them. */
export class HubContent {
  readonly #repositories = new Map<string, Repository>()

  /** Creates the repository unless it is there. */
  repository(name: string): Repository {
    const found = this.#repositories.get(name)
    if (found !== undefined) return found
    const created = { manifests: new Map(), blobs: new Map(), tags: new Map(), readers: undefined }
    this.#repositories.set(name, created)
    return created
  }

  /** Of all repositories. */
  names(): readonly string[] {
    return [...this.#repositories.keys()].sort()
  }

  has(name: string): boolean {
    return this.#repositories.has(name)
  }

  addImage(name: string, tag: string | undefined, image: TestImage | TestIndex): void {
    const repository = this.repository(name)
    const images = 'images' in image ? image.images : [image]
    for (const { config, layers, manifest } of images) {
      for (const blob of [config, ...layers]) repository.blobs.set(blob.digest, blob)
      repository.manifests.set(manifest.digest, manifest)
    }
    repository.manifests.set(image.manifest.digest, image.manifest)
    if (tag !== undefined) repository.tags.set(tag, image.manifest.digest)
  }

  /** Tells whether an account (or nobody, `undefined`) may pull from a repository that exists. */
  mayPull(name: string, account: string | undefined): boolean {
    const repository = this.#repositories.get(name)
    if (repository === undefined) return false
    if (repository.readers === undefined) return true
    if (account === undefined) return false
    return repository.readers === 'any account' || repository.readers.has(account)
  }

  /** Finds a manifest by tag or digest. */
  manifest(name: string, reference: string): TestBlob | undefined {
    const repository = this.#repositories.get(name)
    return repository?.manifests.get(repository.tags.get(reference) ?? reference)
  }

  blob(name: string, digest: string): TestBlob | undefined {
    return this.#repositories.get(name)?.blobs.get(digest)
  }

  /** Finds a blob in any repository, as a CDN does. */
  anyBlob(digest: string): TestBlob | undefined {
    for (const repository of this.#repositories.values()) {
      const blob = repository.blobs.get(digest)
      if (blob !== undefined) return blob
    }
    return undefined
  }

  tags(name: string): readonly string[] {
    return [...(this.#repositories.get(name)?.tags.keys() ?? [])].sort()
  }

  /** The manifests of a repository whose subject is `digest` (distribution-spec, end-12). */
  referrers(name: string, digest: string): readonly { manifest: TestBlob; document: ReferrerDocument }[] {
    const manifests = [...(this.#repositories.get(name)?.manifests.values() ?? [])]
    return manifests
      .map((manifest) => ({ manifest, document: JSON.parse(Buffer.from(manifest.bytes).toString()) }))
      .filter(({ document }) => document.subject?.digest === digest)
  }
}

type ReferrerDocument = {
  readonly artifactType?: string
  readonly annotations?: Readonly<Record<string, string>>
  readonly config?: { readonly mediaType: string }
}
