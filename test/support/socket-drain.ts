import { readFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Looks in a row, at least a millisecond apart, at which the queue is as long as before; a peer that does not read keeps its
 * window shut for longer than that. A clock would go on while this process cannot run, and the peer, which may be in it.
 */
const patience = 500

/**
 * Waits until the peer's kernel has all that was written to a socket, so that a reset discards none of it.
 * Gives up where nothing more goes for half a second or more. Only Linux tells; elsewhere it waits for 20 milliseconds.
 */
export async function sendQueueEmpty(socket: Socket): Promise<void> {
  const ports = [socket.localPort, socket.remotePort].map((port) =>
    (port ?? 0).toString(16).toUpperCase().padStart(4, '0'),
  )
  const table = socket.localFamily === 'IPv6' ? '/proc/net/tcp6' : '/proc/net/tcp'
  const line = new RegExp(`: [0-9A-F]+:${ports[0]} [0-9A-F]+:${ports[1]} [0-9A-F]{2} ([0-9A-F]{8}):`)
  let least = Number.POSITIVE_INFINITY
  for (let looks = 0; !socket.destroyed && looks < patience; looks += 1) {
    const text = await readFile(table, 'latin1').catch(() => undefined)
    if (text === undefined) return sleep(20)
    const queued = line.exec(text)?.[1]
    const bytes = Number.parseInt(queued ?? '0', 16)
    if (bytes === 0) return
    if (bytes < least) [least, looks] = [bytes, 0]
    await sleep(1)
  }
}
