/**
 * What clients that take nothing cost. Thought of: 2,000 connections from one address and from 50, each asking for a big
 * blob, stored or on its way in; 20 connections with 600 requests each; that others are answered meanwhile, and that all
 * is given back.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { type LarderProcess, startLarder } from '../e2e/support/larder-process.ts'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { pseudoRandomBytes } from '../support/images.ts'
import { until } from '../support/settle.ts'
import { get, mebibyte } from './request-log-fixture.ts'

const bound = 400 * mebibyte

/** A connection that asks and reads nothing; undefined where it is closed at once. */
async function ask(port: number, localAddress: string, text: string): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', localAddress })
  socket.on('error', () => {})
  await once(socket, 'connect')
  socket.pause().write(text)
  return socket
}

const memory = (larder: LarderProcess) => larder.metric('process_resident_memory_bytes')

type Crowd = {
  readonly connections: number
  /** Of each connection. */
  readonly requests: number
  readonly addressOf: (n: number) => string
  /** The blob is on its way in, and stands still. */
  readonly isCold?: boolean
}

const crowds: Record<string, Crowd> = {
  '2,000 connections from one address': {
    connections: 2000,
    requests: 1,
    addressOf: () => '127.0.0.2',
  },
  '2,000 connections from 50 addresses': {
    connections: 2000,
    requests: 1,
    addressOf: (n) => `127.0.1.${1 + (n % 50)}`,
  },
  '2,000 connections from 50 addresses with 30 requests each': {
    connections: 2000,
    requests: 30,
    addressOf: (n) => `127.0.1.${1 + (n % 50)}`,
  },
  '2,000 connections from 50 addresses, for a blob on its way in,': {
    connections: 2000,
    requests: 1,
    addressOf: (n) => `127.0.1.${1 + (n % 50)}`,
    isCold: true,
  },
  '20 connections with 600 requests each': {
    connections: 20,
    requests: 600,
    addressOf: () => '127.0.0.2',
  },
}

for (const [what, { connections, requests, addressOf, isCold }] of Object.entries(crowds)) {
  test(`${what} that read nothing: less than 400 MB, others are served, and all is given back`, async (t) => {
    await using hub = await startDockerHub()
    await using larder = await startLarder({ upstreams: [{ name: 'docker.io', url: hub.url }] })
    const blob = hub.addBlob('library/app', pseudoRandomBytes(64 * mebibyte, 'big'))
    const path = `/v2/library/app/blobs/${blob.digest}`
    const other = hub.addBlob('library/app', pseudoRandomBytes(10_000, 'other'))
    const elsewhere = `${larder.url}/v2/library/app/blobs/${other.digest}`
    assert.equal((await pull(elsewhere)).digest, other.digest)
    using standing = isCold ? hub.hold({ listener: 'cdn' }, 32 * mebibyte) : undefined
    if (standing) {
      const begun = pull(larder.url + path)
      await standing.reached
      t.after(() => begun)
    } else {
      assert.equal((await pull(larder.url + path)).digest, blob.digest)
      await larder.settled()
    }
    const before = await memory(larder)
    let most = before
    const sockets: Socket[] = []
    for (let n = 0; n < connections; n += 100) {
      const batch = Array.from({ length: Math.min(100, connections - n) }, (_, index) =>
        ask(larder.port, addressOf(n + index), get(path).repeat(requests)),
      )
      sockets.push(...(await Promise.all(batch)))
      most = Math.max(most, await memory(larder))
    }
    for (let look = 0; look < 10; look += 1) {
      // On a connection that stays: the kernel, full of what nobody takes, may reset those that are closed.
      assert.equal((await (await fetch(elsewhere)).bytes()).length, other.size)
      most = Math.max(most, await memory(larder))
    }
    t.diagnostic(`${Math.round(before / 1e6)} MB before, at most ${Math.round(most / 1e6)} MB`)
    t.diagnostic(`${await larder.metric('larder_transfer_buffers_bytes')} bytes of buffers`)
    assert.ok(most < bound, `${most}`)
    for (const socket of sockets) socket.destroy()
    standing?.release()
    await until(async () => (await larder.metric('larder_transfer_buffers_bytes')) === 0)
  })
}
