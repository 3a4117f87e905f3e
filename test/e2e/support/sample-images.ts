import { createHash } from 'node:crypto'
import {
  blobOf,
  buildImage,
  buildIndex,
  descriptorOf,
  mediaTypes,
  pseudoRandomBytes,
  type TestBlob,
} from '../../support/images.ts'
import { runnableImage, shellFile, thisArchitecture } from './runnable-image.ts'

/** What the images print when they are run. */
export const greeting = 'Hello from Larder!'

const greetingFile = { path: 'hello.txt', content: Buffer.from(`${greeting}\n`) }
const printGreeting = ['/bin/busybox', 'cat', '/hello.txt']

/** The smallest image that runs: one layer, in the media types of Docker. */
export const helloImage = () =>
  runnableImage({ layers: [[shellFile(), greetingFile]], command: printGreeting, mediaTypes: 'docker' })

/** Bytes. */
const largeFileSize = 20_000_000

/** Three layers, one of them large and incompressible; when run it prints the digest of what the layer holds. */
export function largeImage() {
  const content = pseudoRandomBytes(largeFileSize, 'large file')
  const image = runnableImage({
    layers: [[shellFile()], [{ path: 'large.bin', content }], [greetingFile]],
    command: ['/bin/busybox', 'sha256sum', '/large.bin'],
    mediaTypes: 'docker',
  })
  return { image, largeFileHash: createHash('sha256').update(content).digest('hex') }
}

/** An OCI index of two platforms, of which this machine is one. */
export function helloIndex() {
  const other = thisArchitecture === 'amd64' ? 'arm64' : 'amd64'
  const images = [thisArchitecture, other].map((architecture) =>
    runnableImage({ layers: [[shellFile(), greetingFile]], command: printGreeting, architecture }),
  )
  return buildIndex(images)
}

/** What somebody built and wants to push: two layers, in the media types of OCI, which layouts are made of. */
export const ownImage = () =>
  runnableImage({ layers: [[shellFile()], [greetingFile]], command: printGreeting })

/**
 * An index as BuildKit makes it: an image of this machine's platform, and an attestation about it, which newer Docker
 * pulls as well and asks the referrers of. Another `builder`, another image.
 */
export function attestedIndex(builder = 'larder') {
  const note = { path: 'builder.txt', content: Buffer.from(builder) }
  const image = runnableImage({ layers: [[shellFile(), greetingFile, note]], command: printGreeting })
  const predicate = {
    predicateType: 'https://slsa.dev/provenance/v0.2',
    predicate: { builder: { id: builder } },
  }
  const statement = blobOf(
    Buffer.from(JSON.stringify({ _type: 'https://in-toto.io/Statement/v0.1', ...predicate })),
    'application/vnd.in-toto+json',
  )
  const attestation = buildImage({
    layers: [statement],
    platform: { os: 'unknown', architecture: 'unknown' },
  })
  const descriptors = [
    { ...descriptorOf(image.manifest), platform: { os: 'linux', architecture: thisArchitecture } },
    {
      ...descriptorOf(attestation.manifest),
      annotations: {
        'vnd.docker.reference.digest': image.manifest.digest,
        'vnd.docker.reference.type': 'attestation-manifest',
      },
      platform: { os: 'unknown', architecture: 'unknown' },
    },
  ]
  const mediaType = mediaTypes.oci.index
  const manifest = blobOf(
    Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, manifests: descriptors })),
    mediaType,
  )
  return { manifest, images: [image, attestation], attestation }
}

/** A signature of another manifest, as cosign makes it: what refers to it is found by asking for its referrers. */
export function signatureOf(subject: TestBlob) {
  return buildImage({
    layers: [200],
    seed: subject.digest,
    subject,
    artifactType: 'application/vnd.example.signature',
  })
}
