import type { ServerResponse } from 'node:http'
import type { ByteRange } from '../oci/range.ts'
import type { BlobReader } from '../storage/blob-reader.ts'
import type { BufferPool } from './buffer-pool.ts'

/** The client is gone: nothing went wrong on this side. */
export class ClientLeftError extends Error {
  constructor(cause: unknown) {
    super('the client has left', { cause })
    this.name = 'ClientLeftError'
  }
}

/** How far the body is. */
export interface SentCount {
  /** Bytes that were handed to the socket. */
  bytes: number
  /** Bytes among them that the kernel may not have taken yet. */
  pendingBytes: number
}

/**
 * Sends the bytes of a range as the body of an answer whose headers were written, and ends it. One buffer is read into
 * while the socket drains the one before, and each goes back as soon as the kernel has it, so that a slow client holds
 * no more than two; where buffers are scarce, one. The last byte waits until the digest is verified. `sent` is kept up
 * to date. Rejects when the reader fails, with ClientLeftError when the connection does, or when `signal` aborts; the
 * caller then destroys the connection, so that a wrong or short body is never completed.
 */
export async function sendBlob(
  response: ServerResponse,
  reader: BlobReader,
  { start, end }: ByteRange,
  { pool, signal, sent }: { pool: BufferPool; signal: AbortSignal; sent: SentCount },
): Promise<void> {
  const lent = new Set<Buffer>()
  const giveBack = (buffer: Buffer, isClean: boolean): void => {
    lent.delete(buffer)
    pool.release(buffer, isClean)
  }
  const write = writerOf(response, signal, sent)
  let drained: Promise<void> = Promise.resolve()
  try {
    for (let position = start; position < end; ) {
      if (pool.isScarce) await drained
      const buffer = pool.acquire(end - position)
      lent.add(buffer)
      const wanted = buffer.subarray(0, Math.min(buffer.length, end - position))
      const count = await reader.read(wanted, position, { signal })
      if (count === 0) throw new Error(`the blob ended at ${position} of ${end} bytes`)
      position += count
      let bytes = wanted.subarray(0, count)
      await drained
      if (position === end && !reader.isVerified) {
        await write(bytes.subarray(0, -1))
        await reader.verified({ signal })
        bytes = bytes.subarray(-1)
      }
      drained = write(bytes).then(() => giveBack(buffer, true))
      drained.catch(() => {})
    }
    await drained
    response.end()
  } finally {
    // What failed may still be reading into it, or out of it.
    for (const buffer of lent) giveBack(buffer, false)
  }
}

/**
 * Writes to an answer. Each write resolves when the kernel has taken the bytes, so that the buffer may be used
 * again. An answer that waits behind another one on a connection that ends is never told of it, hence `signal`;
 * one listener serves all writes.
 */
function writerOf(
  response: ServerResponse,
  signal: AbortSignal,
  sent: SentCount,
): (bytes: Uint8Array) => Promise<void> {
  let fail: (reason: unknown) => void = () => {}
  signal.addEventListener('abort', () => fail(signal.reason), { once: true })
  return (bytes) => {
    signal.throwIfAborted()
    if (bytes.length === 0) return Promise.resolve()
    sent.bytes += bytes.length
    sent.pendingBytes = bytes.length
    return new Promise((resolve, reject) => {
      fail = reject
      response.write(bytes, (error) => {
        if (error) return reject(new ClientLeftError(error))
        sent.pendingBytes = 0
        resolve()
      })
    })
  }
}
