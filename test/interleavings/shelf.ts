import type { Digest } from '../../src/oci/digest.ts'
import { day as graceMs } from '../registry/local-fixture.ts'
import { buildImage, buildIndex } from '../support/images.ts'

export const images = [[100], [200, 100], [200]].map((sizes, n) =>
  buildImage({ layers: sizes.map((size) => Buffer.alloc(size, size)), seed: `${n}` }),
)
export const index = buildIndex(images.slice(0, 2))
const [first] = images
export const signature = buildImage({
  layers: [Buffer.alloc(300, 3)],
  seed: 'signature',
  ...(first && { subject: first.manifest }),
})
export const attested = buildIndex([...images.slice(2), signature])

/** Each manifest with the blobs and manifests that it cannot be used without, and what it is about. */
export const manifests = [
  ...[...images, signature].map(({ manifest, config, layers }) => ({
    manifest,
    needs: [config, ...layers],
    about: manifest === signature.manifest ? first?.manifest.digest : undefined,
  })),
  ...[index, attested].map(({ manifest, images: listed }) => ({
    manifest,
    needs: listed.map((image) => image.manifest),
    about: undefined,
  })),
]
export const isManifest = (digest: Digest) => manifests.some(({ manifest }) => manifest.digest === digest)
export const blobs = [
  ...new Map(manifests.flatMap(({ needs }) => needs).map((blob) => [blob.digest, blob])).values(),
].filter(({ digest }) => !isManifest(digest))

/** What a model knows of a repository. */
export class Shelf {
  readonly manifests = new Set<Digest>()
  /** Those that nothing carries since something was deleted, and when that was, or somebody last was told that it is here. */
  readonly idle = new Map<Digest, number>()
  readonly tags = new Map<string, Digest>()
  /** Blobs that may be here, and when somebody last was told so, or its last manifest went. */
  readonly blobs = new Map<Digest, number>()
  /** When the uploads that are under way began, by their ids. */
  readonly uploads = new Map<string, number>()

  needs(digest: Digest): boolean {
    return manifests.some(
      ({ manifest, needs }) =>
        this.manifests.has(manifest.digest) && needs.some((one) => one.digest === digest),
    )
  }

  put(digest: Digest): void {
    this.manifests.add(digest)
    const needed = manifests.flatMap(({ manifest, needs }) => (manifest.digest === digest ? needs : []))
    const about = manifests.flatMap(({ manifest, about }) => (about === digest ? [manifest] : []))
    for (const one of [digest, ...[...needed, ...about].map((blob) => blob.digest)]) this.idle.delete(one)
  }

  /** A manifest is deleted, or was let go. What nothing needs any more is kept for a while from then on. */
  remove(digest: Digest, now: number): void {
    this.manifests.delete(digest)
    this.idle.delete(digest)
    for (const [as, tagged] of this.tags) if (tagged === digest) this.tags.delete(as)
    for (const { manifest, needs, about } of manifests) {
      if (about === digest) this.#settle(manifest.digest, now)
      if (manifest.digest !== digest) continue
      for (const one of needs) {
        if (isManifest(one.digest)) this.#settle(one.digest, now)
        else if (this.blobs.has(one.digest) && !this.needs(one.digest)) this.blobs.set(one.digest, now)
      }
    }
  }

  #settle(digest: Digest, now: number): void {
    const about = manifests.find(({ manifest }) => manifest.digest === digest)?.about
    const isCarried =
      this.needs(digest) ||
      [...this.tags.values()].includes(digest) ||
      (about !== undefined && this.manifests.has(about))
    if (this.manifests.has(digest) && !isCarried && !this.idle.has(digest)) this.idle.set(digest, now)
  }

  /** Whether a blob or a manifest must be here. */
  isPromised(digest: Digest, now: number): boolean {
    if (this.manifests.has(digest) && !this.idle.has(digest)) return true
    const at = this.idle.get(digest) ?? this.blobs.get(digest)
    if (at === undefined) return false
    const promisedUntil = at + graceMs * 0.75
    return (
      this.needs(digest) ||
      now <= promisedUntil ||
      [...this.uploads.values()].some((begun) => begun <= promisedUntil)
    )
  }

  /** Whether a blob or an idle manifest must be gone after a collection. */
  isOver(digest: Digest, now: number): boolean {
    const at = this.idle.get(digest) ?? this.blobs.get(digest) ?? Number.NEGATIVE_INFINITY
    const until = at + graceMs
    return !this.needs(digest) && now > until && [...this.uploads.values()].every((begun) => begun > until)
  }
}
