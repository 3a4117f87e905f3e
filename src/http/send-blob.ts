import type { ServerResponse } from 'node:http'
import type { LentBytes } from '../flow/lent-bytes.ts'
import type { Pieces } from '../flow/pieces.ts'
import type { BlobReader } from '../storage/blob-reader.ts'
import type { BufferPool } from './buffer-pool.ts'
import type { BlobBody } from './multipart.ts'

/** The client is gone: nothing went wrong on this side. */
export class ClientLeftError extends Error {
  constructor(cause: unknown) {
    super('the client has left', { cause })
    this.name = 'ClientLeftError'
  }
}

/** How far the body is. */
interface SentCount {
  /** Bytes that were handed to the socket. */
  bytes: number
  /** Bytes among them that the kernel may not have taken yet. */
  pendingBytes: number
}

interface SendOptions {
  /** Of what has to be read. */
  readonly pool: BufferPool
  /** What a reader lends is a part of; where they are scarce, all is read. */
  readonly pieces: Pick<Pieces, 'isScarce'>
  readonly signal: AbortSignal
  /** Kept up to date. */
  readonly sent: SentCount
}

const nothing = Buffer.alloc(0)

/**
 * Sends the parts of a blob as the body of an answer whose headers were written, and ends it. What the reader has in
 * memory is lent, and written as it is, one piece at a time. All else is read: into one buffer while the socket drains the
 * one before, and each goes back as soon as the kernel has it, so that a slow client holds no more than two; where buffers
 * are scarce, one. The last byte of an answer that has the blob's last byte waits until the digest is verified; so does that
 * of any other one, unless the reader gives parts before. Rejects when the reader fails, with ClientLeftError when the
 * connection does, or when `signal` aborts; the caller then destroys the connection, so that a wrong or short body is
 * never completed.
 */
export async function sendBlob(
  response: ServerResponse,
  reader: BlobReader,
  { parts, tail = nothing }: BlobBody,
  { pool, pieces, signal, sent }: SendOptions,
): Promise<void> {
  const held = new Set<LentBytes>()
  const giveBack = (one: LentBytes): void => {
    held.delete(one)
    one.release()
  }
  const hasEnd = parts.some(({ end }) => end === reader.size)
  const isHeldBack = (): boolean => !reader.isVerified && (hasEnd || !reader.givesParts)
  const write = writerOf(response, signal, sent)
  let drained: Promise<void> = Promise.resolve()
  const send = async (one: LentBytes, count: number, isLast: boolean): Promise<void> => {
    let bytes = one.bytes.subarray(0, count)
    await drained
    if (isLast && isHeldBack()) {
      const last = Buffer.from(bytes.subarray(-1))
      await write(bytes.subarray(0, -1))
      giveBack(one)
      await reader.verified({ signal })
      bytes = last
    }
    drained = write(bytes).then(() => giveBack(one))
    drained.catch(() => {})
  }
  try {
    for (const part of parts) {
      const { start, end, head = nothing } = part
      const isLast = part === parts.at(-1)
      for (let position = start, before = head; position < end; before = nothing) {
        const lent = reader.lend && !pieces.isScarce ? await reader.lend(position, { signal }) : undefined
        if (lent) {
          held.add(lent)
          const count = Math.min(lent.length, end - position)
          position += count
          await drained
          await write(before)
          await send(lent, count, isLast && position === end)
          // The memory of others: no client holds more than one.
          await drained
          continue
        }
        if (pool.isScarce) await drained
        const buffer = pool.acquire(before.length + end - position)
        held.add(buffer)
        buffer.bytes.set(before)
        const wanted = buffer.bytes.subarray(before.length, before.length + end - position)
        const count = await reader.read(wanted, position, { signal })
        if (count === 0) throw new Error(`the blob ended at ${position} of ${end} bytes`)
        position += count
        await send(buffer, before.length + count, isLast && position === end)
      }
    }
    await drained
    await write(tail)
    response.end()
  } finally {
    // What failed may still be reading into it, or out of it; of an answer that waits behind another one nobody is told.
    for (const one of held) one.abandon()
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
