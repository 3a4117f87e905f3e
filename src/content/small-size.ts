/** Bytes: what is not larger is verified before its first byte is served, and kept in memory when it is asked for. */
export const smallSize = 64 * 1024
/** A slow line (1 Mbit/s) brings as much within the patience of those who wait for headers. */
const suspectSize = 1024 * 1024

/**
 * Bytes: what is on its way and not larger is verified before its first byte is served. More, where the ways that it
 * comes by were wrong about it a moment ago.
 */
export function verifiedBefore(isSuspect: boolean): number {
  return isSuspect ? suspectSize : smallSize
}
