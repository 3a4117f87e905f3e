import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls'
import type { Certificate } from '../upstream/fixtures.ts'
import type { LineTarget } from './slow-line.ts'
import { sendQueueEmpty } from './socket-drain.ts'

/** Bytes that wait for a client before the target is held back. */
const mostWaiting = 256 * 1024

/**
 * TLS in front of ports: what ends behind it ends before it, and in the same way: with a close_notify where the target
 * has closed its end, by a reset where it has reset. Its owner disposes of it.
 */
export class TlsLine implements AsyncDisposable {
  readonly #secureContext: SecureContext
  readonly #servers: Server[] = []
  readonly #sockets = new Set<Socket>()

  /** `certificate`: for `IP:127.0.0.1`. */
  constructor(certificate: Certificate) {
    this.#secureContext = createSecureContext(certificate)
  }

  /** Opens a port that leads to a target, and returns its URL. Rejects with the error of `listen`. */
  async forward(target: LineTarget): Promise<string> {
    const server = createServer((socket) => this.#join(socket, target))
    this.#servers.push(server)
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(0, '127.0.0.1', resolve)
    })
    return `https://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  #join(socket: Socket, target: LineTarget): void {
    const client = new TLSSocket(socket, { isServer: true, secureContext: this.#secureContext })
    const onward = connect(target)
    for (const one of [socket, client, onward]) this.#note(one)
    client.on('data', (bytes) => onward.write(bytes))
    client.on('close', () => onward.destroy())
    onward.on('data', (bytes) => {
      client.write(bytes)
      if (client.writableLength > mostWaiting) onward.pause()
    })
    client.on('drain', () => onward.resume())
    onward.on('end', () => client.end())
    onward.on('error', () => void resetBehindAll(client, socket))
  }

  #note(socket: Socket): void {
    socket.on('error', () => {})
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = this.#servers.map((server) => new Promise((resolve) => server.close(resolve)))
    for (const socket of this.#sockets) socket.destroy()
    await Promise.all(closed)
  }
}

/** The other side gets what was written before. */
async function resetBehindAll(client: TLSSocket, socket: Socket): Promise<void> {
  await new Promise<void>((resolve) => client.write('', () => resolve()))
  await sendQueueEmpty(socket)
  socket.resetAndDestroy()
}
