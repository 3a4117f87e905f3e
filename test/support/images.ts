import { createCipheriv, createHash } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { createDigestHash, type Digest, digestOf, finishDigest } from '../../src/oci/digest.ts'

/** Hands out the next bytes of some content: at least one, at most as many as asked for. */
export type ByteReader = { read(most: number): Uint8Array }

/** A blob or a manifest of a test: the same seed always gives the same bytes. */
export type TestBlob = {
  readonly digest: Digest
  /** Bytes. */
  readonly size: number
  readonly mediaType: string
  /** The whole content; a generated blob allocates it anew at each look. */
  readonly bytes: Uint8Array
  /** Reads the content from an offset in bytes. */
  open(start: number): ByteReader
}

/** One platform's image: what its manifest refers to, and the manifest itself. */
export type TestImage = {
  readonly config: TestBlob
  readonly layers: readonly TestBlob[]
  readonly manifest: TestBlob
}

/** A multi-platform image; `manifest` is the index. */
export type TestIndex = { readonly manifest: TestBlob; readonly images: readonly TestImage[] }

export type Platform = { readonly os: string; readonly architecture: string; readonly variant?: string }

export type MediaTypeFamily = 'oci' | 'docker'

export type ImageOptions = {
  /** Bytes, a number of pseudo-random bytes, or a blob made before (generated, say), with its own media type. */
  readonly layers?: readonly (Uint8Array | number | TestBlob)[]
  readonly seed?: string | number
  readonly platform?: Platform
  readonly mediaTypes?: MediaTypeFamily
  readonly annotations?: Readonly<Record<string, string>>
  /** Makes the image a referrer of another manifest (image-spec, "subject"). */
  readonly subject?: TestBlob
  readonly artifactType?: string
}

/** The media types of each family, by what they describe. */
export const mediaTypes = {
  oci: {
    manifest: 'application/vnd.oci.image.manifest.v1+json',
    index: 'application/vnd.oci.image.index.v1+json',
    config: 'application/vnd.oci.image.config.v1+json',
    layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
  },
  docker: {
    manifest: 'application/vnd.docker.distribution.manifest.v2+json',
    index: 'application/vnd.docker.distribution.manifest.list.v2+json',
    config: 'application/vnd.docker.container.image.v1+json',
    layer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  },
} as const

/** Bytes of a generated blob that are one piece of its pad. */
const pieceBytes = 256 * 1024
const padBytes = 4 * 1024 * 1024

/**
 * Deterministic pseudo-random bytes: the keystream of AES-CTR under a key made of the seed, which is about as
 * fast as memory and the same on every machine.
 */
export function pseudoRandomBytes(size: number, seed: string | number): Uint8Array {
  const key = createHash('sha256').update(String(seed)).digest().subarray(0, 16)
  return plain(createCipheriv('aes-128-ctr', key, new Uint8Array(16)).update(new Uint8Array(size)))
}

/** Wraps bytes in memory as a blob. */
export function blobOf(content: Uint8Array, mediaType = 'application/octet-stream'): TestBlob {
  const bytes = plain(content)
  return {
    digest: digestOf(bytes),
    size: bytes.length,
    mediaType,
    bytes,
    open(start) {
      let offset = start
      return {
        read(most) {
          const piece = bytes.subarray(offset, offset + most)
          offset += piece.length
          return piece
        },
      }
    },
  }
}

/**
 * A blob of any size that is produced while it is read, and never held in memory: a row of pieces of a small
 * pseudo-random pad, each from another place. Reading allocates and copies nothing. `size` in bytes.
 */
export async function generatedBlob(options: {
  size: number
  seed: string | number
  mediaType?: string
}): Promise<TestBlob> {
  const { size, seed, mediaType = mediaTypes.oci.layer } = options
  const pad = pseudoRandomBytes(padBytes + pieceBytes, seed)
  const open = (start: number) => openPad(pad, start, size)
  return {
    digest: await digestOfReader(open(0)),
    size,
    mediaType,
    get bytes() {
      const bytes = new Uint8Array(size)
      const reader = open(0)
      for (let at = 0, piece = reader.read(size); piece.length > 0; piece = reader.read(size)) {
        bytes.set(piece, at)
        at += piece.length
      }
      return bytes
    },
    open,
  }
}

function openPad(pad: Uint8Array, start: number, end: number): ByteReader {
  let at = start
  return {
    read(most) {
      const index = Math.floor(at / pieceBytes)
      const inPiece = at % pieceBytes
      const from = (Math.imul(index + 1, 0x9e3779b1) >>> 0) % padBytes
      const length = Math.min(most, pieceBytes - inPiece, end - at)
      at += length
      return pad.subarray(from + inPiece, from + inPiece + length)
    },
  }
}

async function digestOfReader(reader: ByteReader): Promise<Digest> {
  const hash = createDigestHash('sha256')
  for (let piece = reader.read(pieceBytes), turn = 1; piece.length > 0; piece = reader.read(pieceBytes)) {
    hash.update(piece)
    turn += 1
    if (turn % 16 === 0) await nextTurn()
  }
  return finishDigest(hash, 'sha256')
}

/** Builds an image whose layers are pseudo-random; it can be pulled, but not run. */
export function buildImage(options: ImageOptions = {}): TestImage {
  const { seed = 'larder', platform = { os: 'linux', architecture: 'amd64' } } = options
  const types = mediaTypes[options.mediaTypes ?? 'oci']
  const layers = (options.layers ?? [1000]).map((layer, index) => {
    if (typeof layer === 'number') return blobOf(pseudoRandomBytes(layer, `${seed}/${index}`), types.layer)
    return layer instanceof Uint8Array ? blobOf(layer, types.layer) : layer
  })
  const config = jsonBlob(types.config, {
    ...platform,
    config: { Env: ['PATH=/bin'], Labels: { seed: String(seed) } },
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.digest) },
    history: layers.map((_, index) => ({ created_by: `layer ${index}` })),
  })
  const manifest = jsonBlob(types.manifest, {
    schemaVersion: 2,
    mediaType: types.manifest,
    ...(options.artifactType && { artifactType: options.artifactType }),
    config: descriptorOf(config),
    layers: layers.map(descriptorOf),
    ...(options.subject && { subject: descriptorOf(options.subject) }),
    ...(options.annotations && { annotations: options.annotations }),
  })
  return { config, layers, manifest }
}

/** Builds an index over images of several platforms; each entry's platform is read from its config. */
export function buildIndex(
  images: readonly TestImage[],
  options: { mediaTypes?: MediaTypeFamily; annotations?: Readonly<Record<string, string>> } = {},
): TestIndex {
  const mediaType = mediaTypes[options.mediaTypes ?? 'oci'].index
  const manifest = jsonBlob(mediaType, {
    schemaVersion: 2,
    mediaType,
    manifests: images.map((image) => {
      const { os, architecture, variant } = JSON.parse(Buffer.from(image.config.bytes).toString())
      return { ...descriptorOf(image.manifest), platform: { os, architecture, variant } }
    }),
    ...(options.annotations && { annotations: options.annotations }),
  })
  return { manifest, images }
}

/** The descriptor of a blob (image-spec, "OCI Content Descriptors"). */
export function descriptorOf(blob: TestBlob): { mediaType: string; digest: Digest; size: number } {
  return { mediaType: blob.mediaType, digest: blob.digest, size: blob.size }
}

function jsonBlob(mediaType: string, value: unknown): TestBlob {
  return blobOf(Buffer.from(JSON.stringify(value, null, 2)), mediaType)
}

/** The same bytes, but no Buffer: strict comparison tells the two apart. */
function plain(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)
}
