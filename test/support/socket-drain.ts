import { readFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** Milliseconds; a peer that does not read keeps its window shut for longer than that. */
const patienceMs = 500

/**
 * Waits until the peer's kernel has all that was written to a socket, so that a reset discards none of it.
 * Gives up after half a second. Only Linux tells; elsewhere it waits for 20 milliseconds.
 */
export async function sendQueueEmpty(socket: Socket): Promise<void> {
  const ports = [socket.localPort, socket.remotePort].map((port) =>
    (port ?? 0).toString(16).toUpperCase().padStart(4, '0'),
  )
  const table = socket.localFamily === 'IPv6' ? '/proc/net/tcp6' : '/proc/net/tcp'
  const line = new RegExp(`: [0-9A-F]+:${ports[0]} [0-9A-F]+:${ports[1]} [0-9A-F]{2} ([0-9A-F]{8}):`)
  const deadline = performance.now() + patienceMs
  while (!socket.destroyed && performance.now() < deadline) {
    const text = await readFile(table, 'latin1').catch(() => undefined)
    if (text === undefined) return sleep(20)
    const queued = line.exec(text)?.[1]
    if (queued === undefined || Number.parseInt(queued, 16) === 0) return
    await sleep(1)
  }
}
