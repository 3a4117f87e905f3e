import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { descriptorOf, type TestBlob, type TestImage, type TestIndex } from '../../support/images.ts'

/** Writes an image, or an index with its images, as the OCI layout `folder` (image-spec "image-layout"). */
export async function writeLayout(folder: string, tag: string, image: TestImage | TestIndex): Promise<void> {
  const images = 'images' in image ? image.images : [image]
  const blobs = images.flatMap(({ config, layers, manifest }) => [config, ...layers, manifest])
  for (const { digest, bytes } of [...blobs, image.manifest]) {
    await write(join(folder, 'blobs', digest.replace(':', '/')), bytes)
  }
  await write(join(folder, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }))
  await write(join(folder, 'index.json'), JSON.stringify(indexOf(tag, image.manifest)))
}

function indexOf(tag: string, manifest: TestBlob): object {
  const annotations = { 'org.opencontainers.image.ref.name': tag }
  return { schemaVersion: 2, manifests: [{ ...descriptorOf(manifest), annotations }] }
}

async function write(path: string, content: Uint8Array | string): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, content)
}
