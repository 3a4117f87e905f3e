import { createHash } from 'node:crypto'
import { buildIndex, pseudoRandomBytes } from '../../support/images.ts'
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
