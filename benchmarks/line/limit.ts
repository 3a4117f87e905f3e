import type { ImageSummary } from '../support/hub-control.ts'
import type { Line } from './rows.ts'

/**
 * The round trips of a pull that nobody can avoid who has neither the image nor a token for it, and who has opened what
 * can be opened before: the token, the manifest, the redirect of a blob, TCP and TLS to the host that it names, and that
 * host's first bytes.
 */
const unavoidableTrips = 6

/** Bytes of an image: its manifest, its config and its layers. */
export function bytesOf({ manifest, config, layers }: ImageSummary): number {
  return [manifest, config, ...layers].reduce((sum, { size }) => sum + size, 0)
}

/** The seconds that a pull takes at best: all bytes at the rate of the line, and the round trips. */
export function limitOf(image: ImageSummary, { bytesPerSecond, roundTripMs }: Line): number {
  return bytesOf(image) / bytesPerSecond + (unavoidableTrips * roundTripMs) / 1000
}
