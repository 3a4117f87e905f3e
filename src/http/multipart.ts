import { randomBytes } from 'node:crypto'
import type { ByteRange } from '../oci/range.ts'

/** A span of a blob in the body of an answer, behind bytes that say which one it is. */
interface BlobPart extends ByteRange {
  readonly head?: Uint8Array | undefined
}

/** What the body of an answer with a blob is made of. */
export interface BlobBody {
  /** At least one, in their order. */
  readonly parts: readonly BlobPart[]
  /** What ends it. */
  readonly tail?: Uint8Array | undefined
}

export interface Multipart extends BlobBody {
  /** Of the answer. */
  readonly contentType: string
  /** Bytes of the whole body. */
  readonly length: number
}

/** Bytes from which a boundary is made: nobody guesses it, and no blob has it by chance. */
const boundaryBytes = 18

/** Ranges of a blob of `size` bytes, each of `type`, as the body of a `multipart/byteranges` (RFC 9110 14.6). */
export function multipart(
  ranges: readonly ByteRange[],
  { size, type }: { size: number; type: string },
): Multipart {
  const boundary = randomBytes(boundaryBytes).toString('hex')
  const parts = ranges.map(({ start, end }, index) => {
    const fields = `Content-Type: ${type}\r\nContent-Range: bytes ${start}-${end - 1}/${size}\r\n`
    return { start, end, head: Buffer.from(`${index > 0 ? '\r\n' : ''}--${boundary}\r\n${fields}\r\n`) }
  })
  const tail = Buffer.from(`\r\n--${boundary}--\r\n`)
  const length = parts.reduce((sum, { start, end, head }) => sum + head.length + end - start, tail.length)
  return { parts, tail, length, contentType: `multipart/byteranges; boundary=${boundary}` }
}
