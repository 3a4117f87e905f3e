// What is here of a body is given while its sender pauses, and a body is given up whatever its source says of what is here.
// Neighbours: the first bytes, some that fill no piece, those behind a full one; taken off the connection, copied, streamed.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep, setImmediate as turnOfTheLoop } from 'node:timers/promises'
import { type BodySource, readSource } from '../../../src/upstream/connections/body-source.ts'
import { UpstreamError } from '../../../src/upstream/error.ts'
import { sendQueueEmpty } from '../../support/socket-drain.ts'
import { failsWith, transportTo } from '../fixtures.ts'
import { rawServer } from './raw-server.ts'

const size = 5_000_000

for (const [way, isLent] of [
  ['taken off its connection', true],
  ['copied', false],
  ['streamed', undefined],
] as const) {
  test(`a body that is ${way}: all that came is given, and nothing waits for its sender`, async (t) => {
    const steps = [1, 1000, 1_048_576, 10, 2_000_000, 3]
    const { url } = await rawServer(t, ({ socket }) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`)
      send = async (bytes) => {
        socket.write(Buffer.alloc(bytes))
        await sendQueueEmpty(socket)
        // Nobody takes any before all of it has been read.
        for (let turns = 0; turns < 50; turns += 1) await turnOfTheLoop()
      }
    })
    let send: (bytes: number) => Promise<void> = () => assert.fail()
    const response = await transportTo(t, url.href, { stallMs: 60_000 }).request({
      method: 'GET',
      url,
      isLent: isLent === true,
    })
    const body = isLent === undefined ? response.body() : response.lent()
    for (const bytes of steps) {
      await send(bytes)
      for (let received = 0; received < bytes; ) {
        const { value } = await body.next()
        assert.ok(value)
        received += value.length
        if ('release' in value) value.release()
      }
    }
    response.discard()
    await body.return()
  })
}

test('a source that never gives what it says is here is given up', async () => {
  const ended = Promise.withResolvers<void>()
  const source: BodySource<Buffer> & { end: { error: unknown } | undefined } = {
    hasBytes: true,
    end: undefined,
    take: () => undefined,
    arrival: () => ended.promise,
    destroy: (error) => {
      source.end = { error }
      ended.resolve()
    },
    leave: () => {},
  }
  const translate = (error: unknown): UpstreamError => {
    assert.ok(error instanceof UpstreamError)
    return error
  }
  const reading = readSource(source, { upstream: 'docker.io', stallMs: 20, signal: undefined, translate })
  await Promise.race([
    failsWith(reading.next(), 'TIMED_OUT'),
    sleep(9000, undefined, { ref: false }).then(() => assert.fail('it waits')),
  ])
})
