import { once } from 'node:events'
import { createServer } from 'node:net'

/** Ports that no system gives, as it is set up, to whoever asks for any: servers of tests and connections do. */
const range = { first: 20_000, count: 10_000 }

/** A port of 127.0.0.1 that is free at this moment, for programs that do not tell which one they took. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = range.first + Math.floor(Math.random() * range.count)
    const server = createServer().listen(port, '127.0.0.1')
    try {
      await once(server, 'listening')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') continue
      throw error
    }
    server.close()
    await once(server, 'close')
    return port
  }
}
