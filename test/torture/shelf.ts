import type { Digest } from '../../src/oci/digest.ts'
import type { TestBlob, TestImage } from '../support/images.ts'

/** An upload that is under way. */
export interface OpenUpload {
  readonly path: string
  readonly blob: TestBlob
  /** Bytes that the server has said to have. */
  acknowledged: number
  /** Its end was asked for: it may be over. */
  isEnding: boolean
}

/**
 * What one repository has to have, by what its only client was told. Of what was asked for, and not answered, several
 * things may be true until somebody looks.
 */
export class Shelf {
  readonly name: string
  /** Whether each manifest is there. */
  readonly manifests = new Map<Digest, { readonly image: TestImage; may: Set<boolean> }>()
  /** At what each tag points; undefined: it is not there. */
  readonly tags = new Map<string, Set<Digest | undefined>>()
  /** Blobs whose deletion was acknowledged, and that were not pushed since. */
  readonly deleted = new Set<Digest>()
  readonly uploads: OpenUpload[] = []
  /** What was asked for since somebody last looked: digests and tags. */
  readonly touched = new Set<string>()

  constructor(name: string) {
    this.name = name
  }

  /** Manifests that are there for sure. */
  get images(): TestImage[] {
    return [...this.manifests.values()].filter(({ may }) => isOnly(may, true)).map(({ image }) => image)
  }

  /** A manifest is put, with a tag; `answered`: it was. */
  put(image: TestImage, tag: string, answered: boolean): void {
    const { digest } = image.manifest
    const before = this.manifests.get(digest)?.may ?? [false]
    this.manifests.set(digest, { image, may: answered ? new Set([true]) : new Set([...before, true]) })
    const pointed = this.tags.get(tag) ?? [undefined]
    this.tags.set(tag, answered ? new Set([digest]) : new Set([...pointed, digest]))
    this.touch(digest, tag)
  }

  deleteTag(tag: string, answered: boolean): void {
    const pointed = this.tags.get(tag) ?? []
    this.tags.set(tag, answered ? new Set([undefined]) : new Set([...pointed, undefined]))
    this.touch(tag)
  }

  deleteManifest(image: TestImage, answered: boolean): void {
    const { digest } = image.manifest
    this.manifests.set(digest, { image, may: answered ? new Set([false]) : new Set([true, false]) })
    for (const [tag, pointed] of this.tags) {
      if (!pointed.has(digest)) continue
      const others = [...pointed].filter((one) => one !== digest)
      this.tags.set(tag, new Set(answered ? [...others, undefined] : [...pointed, undefined]))
      this.touch(tag)
    }
    this.touch(digest)
  }

  /** What has to be there at this moment. */
  copy(): Shelf {
    const copy = new Shelf(this.name)
    for (const [digest, { image, may }] of this.manifests)
      copy.manifests.set(digest, { image, may: new Set(may) })
    for (const [tag, pointed] of this.tags) copy.tags.set(tag, new Set(pointed))
    for (const digest of this.deleted) copy.deleted.add(digest)
    return copy
  }

  /** Forgets what was touched. */
  forget(touched: ReadonlySet<string>): void {
    for (const one of touched) {
      this.manifests.delete(one as Digest)
      this.tags.delete(one)
      this.deleted.delete(one as Digest)
    }
  }

  touch(...what: string[]): void {
    for (const one of what) this.touched.add(one)
  }
}

export function isOnly<Value>(values: ReadonlySet<Value>, value: Value): boolean {
  return values.size === 1 && values.has(value)
}
