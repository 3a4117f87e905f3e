/** Bytes. The memory of less is cheaper to collect than to free by hand. */
const worthFreeing = 4 * 1024

/**
 * Frees the memory of a chunk that nobody needs any more, where it has some of its own. V8 does not see how much that is and
 * collects for every few megabytes of it: more work than all that is done with the bytes.
 */
export function freeChunk({ buffer, byteLength }: Buffer): void {
  const isWhole = byteLength === buffer.byteLength && byteLength >= worthFreeing
  if (isWhole && buffer instanceof ArrayBuffer) buffer.transfer(0)
}
