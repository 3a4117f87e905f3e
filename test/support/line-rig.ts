import assert from 'node:assert/strict'
import { type AddressInfo, createServer, type Socket, connect as tcpConnect } from 'node:net'
import type { TestContext } from 'node:test'
import { until } from './settle.ts'
import { type SlowLine, type SlowLineOptions, startSlowLine } from './slow-line.ts'

export const megabyte = 1_000_000

type Rig = { line: SlowLine; served: Socket[] }

/** A line to a server that does `serve` with each connection. */
export async function rig(
  t: TestContext,
  options: SlowLineOptions,
  serve: (socket: Socket) => void,
): Promise<Rig> {
  const served: Socket[] = []
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    served.push(socket)
    socket.on('error', () => undefined)
    serve(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const target = { host: '127.0.0.1', port: (server.address() as AddressInfo).port }
  const line = await startSlowLine({ ...options, target })
  t.after(async () => {
    await line.close()
    for (const socket of served) socket.destroy()
    server.close()
  })
  return { line, served }
}

/** Sends for as long as the other side takes it. */
export function flood(socket: Socket): void {
  const piece = Buffer.alloc(64 * 1024, 'x')
  const more = () => {
    while (!socket.destroyed && socket.write(piece));
  }
  socket.on('drain', more)
  more()
}

export const echo = (socket: Socket) => void socket.pipe(socket)

/** Connects to a line; the end of the connection and its error are awaited by `ended`. */
export function dial(
  t: TestContext,
  line: SlowLine,
): { socket: Socket; ended: Promise<string>; received: () => number } {
  const socket = tcpConnect({ port: line.port, host: '127.0.0.1', allowHalfOpen: true })
  let received = 0
  let how = 'end'
  socket.on('data', (chunk) => {
    received += chunk.length
  })
  socket.on('error', (error: NodeJS.ErrnoException) => {
    how = error.code ?? error.message
  })
  const ended = new Promise<string>((resolve) => {
    socket.once('end', () => resolve(how))
    socket.once('close', () => resolve(how))
  })
  t.after(() => socket.destroy())
  return { socket, ended, received: () => received }
}

/** Bytes per second that clients receive while `count` bytes arrive, after the line has settled. */
export async function measure(clients: { received: () => number }[], count: number): Promise<number> {
  const total = () => clients.reduce((sum, client) => sum + client.received(), 0)
  await until(() => total() > count / 10)
  const [began, from] = [performance.now(), total()]
  await until(() => total() - from > count, { timeoutMs: 10_000 })
  return ((total() - from) / (performance.now() - began)) * 1000
}

/** Never more than the rate; less only as far as a busy machine keeps the process from running. */
export function assertRate(measured: number, rate: number): void {
  assert.ok(
    measured < 1.05 * rate && measured > 0.8 * rate,
    `${measured} instead of ${rate} bytes per second`,
  )
}
