import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { test } from 'node:test'
import { heapUsed } from '../../support/heap.ts'
import { until } from '../../support/settle.ts'
import { listen, transportTo } from '../fixtures.ts'

const packets = 5000

test('a body that comes in small packets holds no memory for those that have been read', async (t) => {
  let sending: ServerResponse | undefined
  const server = await listen(t, (_, response) => {
    response.writeHead(200).flushHeaders()
    response.socket?.setNoDelay()
    sending = response
  })
  const response = await transportTo(t, server.url).request({ method: 'GET', url: new URL(server.url) })
  await until(() => sending !== undefined)
  const body = response.body()
  /** Each packet leaves when the one before it has been read, so that each is waited for. */
  const read = async (count: number): Promise<void> => {
    for (let index = 0; index < count; index += 1) {
      const next = body.next()
      sending?.write('x')
      await next
    }
  }
  await read(packets)
  const before = heapUsed()
  await read(packets)
  const kept = (heapUsed() - before) / packets
  assert.ok(kept < 100, `${kept} bytes for each packet`)
  sending?.end()
  assert.equal((await body.next()).done, true)
})
