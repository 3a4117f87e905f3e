import { createHash } from 'node:crypto'
import http, { type IncomingMessage } from 'node:http'
import type { TestBlob } from '../support/images.ts'

/** Milliseconds after which a client that waits for ever fails instead. */
const longestMs = 60_000

export interface ComparedOptions {
  readonly blob: TestBlob
  /** Bytes; `end`: inclusive. */
  readonly range?: { readonly start: number; readonly end: number } | undefined
  /** Leaves once it has this many bytes. */
  readonly leavesAt?: number | undefined
  /** Called with the bytes so far at each piece; nothing more is taken before it resolves. */
  readonly onBytes: (received: number) => Promise<void> | undefined
}

/** What a client has seen of an answer. */
export interface Compared {
  readonly status: number
  readonly received: number
  /** It ended as its framing says. */
  readonly isComplete: boolean
  readonly hasLeft: boolean
  /** The first position in the blob at which something else came, and what. */
  readonly wrong: string | undefined
  readonly digest: string
}

/** Asks for a blob, or for a range of it, and compares each byte that comes. Rejects where no answer comes at all. */
export async function pullCompared(url: string, options: ComparedOptions): Promise<Compared> {
  const { blob, range, leavesAt, onBytes } = options
  const overdue = AbortSignal.timeout(longestMs)
  const response = await ask(url, range, overdue)
  const { statusCode: status = 0 } = response
  const comparison = new Comparison(blob, status === 206 ? (range?.start ?? 0) : 0)
  const hash = createHash('sha256')
  let received = 0
  let hasLeft = false
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      received += chunk.length
      if (status < 300) comparison.take(chunk)
      hash.update(chunk)
      await onBytes(received)
      if (leavesAt === undefined || received < leavesAt) continue
      hasLeft = true
      response.socket.resetAndDestroy()
      break
    }
  } catch {
    if (overdue.aborted) throw new Error(`the client of ${url} waits for ever, with ${received} bytes`)
  }
  const isComplete = response.complete && !hasLeft
  return {
    status,
    received,
    isComplete,
    hasLeft,
    wrong: comparison.wrong,
    digest: `sha256:${hash.digest('hex')}`,
  }
}

function ask(url: string, range: ComparedOptions['range'], signal: AbortSignal): Promise<IncomingMessage> {
  const headers = range ? { range: `bytes=${range.start}-${range.end}` } : {}
  return new Promise((resolve, reject) => {
    http.request(url, { headers, signal, agent: false }, resolve).on('error', reject).end()
  })
}

/** Of what comes with what has to come. */
class Comparison {
  readonly #reader: ReturnType<TestBlob['open']>
  #position: number
  wrong: string | undefined

  constructor(blob: TestBlob, start: number) {
    this.#reader = blob.open(start)
    this.#position = start
  }

  take(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length && this.wrong === undefined; ) {
      const expected = this.#reader.read(chunk.length - at)
      const came = chunk.subarray(at, at + Math.max(expected.length, 1))
      if (Buffer.compare(came, expected) !== 0) this.wrong = this.#describe(came, expected)
      at += came.length
      this.#position += came.length
    }
  }

  #describe(came: Uint8Array, expected: Uint8Array): string {
    const index = came.findIndex((byte, at) => byte !== expected[at])
    const hex = Buffer.from(came.subarray(index, index + 8)).toString('hex')
    return `${hex} at ${this.#position + index}`
  }
}
