import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** A way to a server that counts what it answers. Dispose to close it. */
export type CountedWay = AsyncDisposable & {
  /** `127.0.0.1:<port>`. */
  readonly host: string
  /** Bytes that came from the server since the last `reset`, headers and all. */
  readonly bytes: number
  reset(): void
}

/** Opens a way to what listens at `target` (`host:port`). */
export async function countedWay(target: string): Promise<CountedWay> {
  const { hostname, port } = new URL(`http://${target}`)
  const sockets = new Set<Socket>()
  let bytes = 0
  const server = createServer((client) => {
    const remote = connect(Number(port), hostname)
    for (const [socket, other] of [[client, remote] as const, [remote, client] as const]) {
      sockets.add(socket)
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        sockets.delete(socket)
        other.destroySoon()
      })
    }
    remote.on('data', ({ length }) => {
      bytes += length
    })
    client.pipe(remote)
    remote.pipe(client)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    get bytes() {
      return bytes
    },
    reset() {
      bytes = 0
    },
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}
