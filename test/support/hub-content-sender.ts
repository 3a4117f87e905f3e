import { setTimeout as sleep } from 'node:timers/promises'
import type { Content, Exchange } from './hub-exchange.ts'
import type { Fault, Gate } from './hub-faults.ts'
import { sendQueueEmpty } from './socket-drain.ts'

/** Bytes handed to the kernel in one call: large enough to be cheap, small enough to count finely. */
const pieceBytes = 256 * 1024

type Span = { readonly start: number; readonly end: number }

/** Sends one content response and breaks it in the ways that a fault asks for. */
export class ContentSender {
  readonly #exchange: Exchange
  readonly #content: Content
  readonly #fault: Fault
  readonly #gates: readonly Gate[]

  constructor(exchange: Exchange, content: Content, fault: Fault, gates: readonly Gate[]) {
    this.#exchange = exchange
    this.#content = content
    this.#fault = fault
    this.#gates = gates
  }

  /** Settles when the response has been handed to the kernel whole, or has broken as planned. */
  async send(): Promise<void> {
    const { blob, ranges } = this.#content
    const { request, record } = this.#exchange
    const wanted =
      ranges && !this.#fault.ignoreRange && record.method === 'GET' ? request.headers.range : undefined
    const span = this.#matchesIfRange() ? parseRange(wanted, blob.size) : undefined
    if (span === 'unsatisfiable') {
      this.#exchange.send(416, { 'Content-Range': `bytes */${blob.size}` })
      return
    }
    this.#writeHead(span)
    if (record.method === 'HEAD') {
      this.#exchange.response.end()
      return
    }
    await this.#sendBody(span ?? { start: 0, end: blob.size })
  }

  #matchesIfRange(): boolean {
    const { 'if-range': validator } = this.#exchange.request.headers
    return validator === undefined || validator === this.#content.headers.ETag
  }

  #writeHead(span: Span | undefined): void {
    const { blob, headers } = this.#content
    const { contentLength, contentType, dockerContentDigest, contentRange, totalSize, endless } = this.#fault
    const { start, end } = span ?? { start: 0, end: blob.size }
    const length = contentLength ?? (endless ? 'none' : end - start)
    this.#exchange.writeHead(span ? 206 : 200, {
      ...headers,
      'Content-Length': length === 'none' ? undefined : length,
      'Content-Range': span && (contentRange ?? `bytes ${start}-${end - 1}/${totalSize ?? blob.size}`),
      ...(contentType && { 'Content-Type': contentType }),
      ...(dockerContentDigest && { 'Docker-Content-Digest': dockerContentDigest }),
    })
  }

  async #sendBody({ start, end }: Span): Promise<void> {
    const { blob } = this.#content
    const { cutAfter, cutEvery, stallAfter, shortBy = 0, longerBy = 0, endless, bytesPerSecond } = this.#fault
    const { response } = this.#exchange
    const never = Number.POSITIVE_INFINITY
    const cutAt = Math.min(start + (cutAfter ?? never), nextMultiple(start, cutEvery))
    const stallAt = start + (stallAfter ?? never)
    const last = endless ? never : end - shortBy + longerBy
    const promised = typeof this.#fault.contentLength === 'number' ? this.#fault.contentLength : 0
    const endsEarly = shortBy > 0 || promised > last - start
    const gates = this.#gates.filter((gate) => (gate.offset ?? 0) >= start)
    const reader = blob.open(start)
    const began = performance.now()
    const largest = bytesPerSecond
      ? Math.max(1, Math.min(pieceBytes, Math.floor(bytesPerSecond / 20)))
      : pieceBytes

    for (let at = start; ; ) {
      for (const gate of gates.filter((gate) => gate.offset === at && !gate.isOpen)) {
        response.flushHeaders()
        await gate.pass(this.#exchange.closed)
      }
      if (response.destroyed) return
      if (at >= cutAt) return this.#breakOff(this.#fault.cutWith ?? 'rst')
      if (at >= stallAt) return response.flushHeaders()
      if (at >= last) break
      const stops = gates.map((gate) => gate.offset ?? 0).filter((offset) => offset > at)
      const stop = Math.min(at + largest, cutAt, stallAt, last, at < end ? end : never, ...stops)
      const piece = at < end ? reader.read(stop - at) : Buffer.alloc(stop - at, ' ')
      const next = at + piece.length
      const final = next === last && !endsEarly && next < Math.min(cutAt, stallAt) && !stops.includes(next)
      if (bytesPerSecond) await this.#pace(began + ((next - start) / bytesPerSecond) * 1000)
      if (!(await this.#write(this.#flip(piece, at), final))) return
      at = next
    }
    if (endsEarly) return this.#breakOff('fin')
    if (!response.writableEnded) response.end()
  }

  #flip(piece: Uint8Array, at: number): Uint8Array {
    const index = (this.#fault.flipAt ?? -1) - at
    if (index < 0 || index >= piece.length) return piece
    const copy = Uint8Array.from(piece)
    copy[index] = (copy[index] ?? 0) ^ 1
    return copy
  }

  /** Hands a piece to the kernel and counts it; false where the connection is gone. */
  async #write(piece: Uint8Array, final: boolean): Promise<boolean> {
    const { response, record, closed } = this.#exchange
    const socket = response.socket
    const before = socket?.bytesWritten ?? 0
    const written = new Promise<boolean>((resolve) => {
      const done = (error?: Error | null) => resolve(!error)
      if (final) response.end(piece, () => done())
      else response.write(piece, done)
    })
    const whole = await Promise.race([written, closed.then(() => response.writableFinished)])
    const count = whole
      ? piece.length
      : Math.min(piece.length, Math.max(0, (socket?.bytesWritten ?? 0) - before))
    record.bytesSent += count
    this.#content.onSent(this.#content.blob.digest, count)
    return whole
  }

  async #pace(until: number): Promise<void> {
    const left = until - performance.now()
    if (left <= 1) return
    const stop = new AbortController()
    await Promise.race([
      sleep(left, undefined, { signal: stop.signal }).catch(() => undefined),
      this.#exchange.closed,
    ])
    stop.abort()
  }

  async #breakOff(how: 'rst' | 'fin'): Promise<void> {
    const { response } = this.#exchange
    const { socket } = response
    response.flushHeaders()
    if (socket === null) return
    if (how === 'fin') {
      socket.end()
      return
    }
    await sendQueueEmpty(socket)
    socket.resetAndDestroy()
  }
}

/** The first multiple of `step` after `offset`. */
function nextMultiple(offset: number, step: number | undefined): number {
  return step === undefined ? Number.POSITIVE_INFINITY : (Math.floor(offset / step) + 1) * step
}

/**
 * Reads a single range (RFC 9110 14.1.2) as a half-open span. Several ranges, or what is no range of bytes,
 * are answered with the whole (`undefined`), as a server may.
 */
function parseRange(header: string | undefined, size: number): Span | 'unsatisfiable' | undefined {
  const parts = /^bytes=(\d*)-(\d*)$/.exec(header ?? '')
  if (parts === null || (parts[1] === '' && parts[2] === '')) return undefined
  if (parts[1] === '') {
    const suffix = Number(parts[2])
    if (suffix === 0 || size === 0) return 'unsatisfiable'
    return { start: Math.max(0, size - suffix), end: size }
  }
  const start = Number(parts[1])
  const last = parts[2] === '' ? size - 1 : Number(parts[2])
  if (last < start && parts[2] !== '') return undefined
  return start >= size ? 'unsatisfiable' : { start, end: Math.min(last, size - 1) + 1 }
}
