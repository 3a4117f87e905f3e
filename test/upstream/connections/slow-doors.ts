import { connect } from 'node:net'
import type { TestContext } from 'node:test'
import { Worker } from 'node:worker_threads'
import { until } from '../../support/settle.ts'

/** Runs in a thread of its own, which blocks between listening and accepting. */
const doorkeeper = `
const { createServer } = require('node:http')
const { parentPort, workerData } = require('node:worker_threads')
const gate = new Int32Array(workerData.gate)
const listenAt = ([host, ...others], port) => {
  if (host === undefined) {
    parentPort.postMessage(port)
    Atomics.wait(gate, 0, 0)
    return
  }
  const server = createServer((request, response) => response.end('ok'))
  server.listen({ host, port, backlog: 1 }, () => listenAt(others, server.address().port))
}
listenAt(workerData.addresses, workerData.port)`

export type SlowDoors = {
  readonly port: number
  /**
   * Accepts connections from a moment on that is just short of a second: those under way, whose first packet was dropped,
   * come in with the second one, a second after they were begun.
   */
  openInTime(): void
}

/**
 * HTTP servers at one port of several loopback addresses that drop the first packet of every connection, because their
 * queues are full, until `openInTime` is called. Closed with the test. Needs no privileges, unlike a slow line.
 */
export async function slowDoors(t: TestContext, addresses: readonly string[], port = 0): Promise<SlowDoors> {
  const gate = new SharedArrayBuffer(4)
  const worker = new Worker(doorkeeper, { eval: true, workerData: { addresses, port, gate } })
  t.after(() => worker.terminate())
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  worker.once('message', resolve).once('error', reject)
  const listening = await promise
  const waiting = new Map<string, number>()
  for (const host of addresses) {
    // As many as the queue holds, and one that stays outside, unless all are on their way before the first is in.
    for (let count = 0; count < 3; count += 1) {
      const filler = connect({ host, port: listening }, () => waiting.set(host, (waiting.get(host) ?? 0) + 1))
      filler.on('error', () => {})
      t.after(() => filler.destroy())
    }
  }
  const isFull = (host: string) => (waiting.get(host) ?? 0) >= 2
  await until(() => addresses.every(isFull), { what: 'the queues are full' })
  return {
    port: listening,
    openInTime() {
      const timer = setTimeout(() => {
        const word = new Int32Array(gate)
        Atomics.store(word, 0, 1)
        Atomics.notify(word, 0)
      }, 900)
      t.after(() => clearTimeout(timer))
    },
  }
}
