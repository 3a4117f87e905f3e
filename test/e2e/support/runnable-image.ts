import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import {
  blobOf,
  descriptorOf,
  type MediaTypeFamily,
  mediaTypes,
  type TestBlob,
  type TestImage,
} from '../../support/images.ts'
import { programs } from '../../support/programs.ts'

/** A file of a layer. */
export type LayerFile = { readonly path: string; readonly content: Uint8Array; readonly mode?: number }

export type RunnableImageOptions = {
  /** The files of each layer, from the bottom up. */
  readonly layers: readonly (readonly LayerFile[])[]
  readonly command: readonly string[]
  readonly mediaTypes?: MediaTypeFamily
  /** As images name it (amd64, arm64); this machine's unless set. */
  readonly architecture?: string
}

/** The file that makes an image run: a shell with its tools. */
export const shellFile = (): LayerFile => ({
  path: 'bin/busybox',
  content: readFileSync(programs.busybox.path),
  mode: 0o755,
})

/** The architecture of this machine, as images name it. */
export const thisArchitecture = process.arch === 'x64' ? 'amd64' : process.arch

/** Builds an image of real files, which container engines can unpack and run. */
export function runnableImage(options: RunnableImageOptions): TestImage {
  const types = mediaTypes[options.mediaTypes ?? 'oci']
  const archives = options.layers.map(tarArchive)
  const layers = archives.map((archive) => blobOf(gzipSync(archive, { level: 1 }), types.layer))
  const config = jsonBlob(types.config, {
    os: 'linux',
    architecture: options.architecture ?? thisArchitecture,
    config: { Cmd: options.command },
    rootfs: { type: 'layers', diff_ids: archives.map((archive) => blobOf(archive).digest) },
  })
  const manifest = jsonBlob(types.manifest, {
    schemaVersion: 2,
    mediaType: types.manifest,
    config: descriptorOf(config),
    layers: layers.map(descriptorOf),
  })
  return { config, layers, manifest }
}

function jsonBlob(mediaType: string, value: unknown): TestBlob {
  return blobOf(Buffer.from(JSON.stringify(value)), mediaType)
}

/** POSIX 1003.1 "ustar Interchange Format": a header of 512 bytes, the content, and two empty blocks at the end. */
function tarArchive(files: readonly LayerFile[]): Uint8Array {
  const parts = files.flatMap((file) => [tarHeader(file), file.content, padding(file.content.length)])
  return Buffer.concat([...parts, Buffer.alloc(1024)])
}

function tarHeader({ path, content, mode = 0o644 }: LayerFile): Buffer {
  const header = Buffer.alloc(512)
  const octal = (value: number, at: number, length: number) =>
    header.write(value.toString(8).padStart(length - 1, '0'), at)
  header.write(path, 0)
  octal(mode, 100, 8)
  octal(0, 108, 8)
  octal(0, 116, 8)
  octal(content.length, 124, 12)
  octal(0, 136, 12)
  // The checksum is taken with its own field full of spaces.
  header.write('        ', 148)
  header.write('0', 156)
  header.write('ustar\u000000', 257)
  octal(
    header.reduce((sum, byte) => sum + byte, 0),
    148,
    7,
  )
  return header
}

function padding(size: number): Buffer {
  return Buffer.alloc((512 - (size % 512)) % 512)
}
