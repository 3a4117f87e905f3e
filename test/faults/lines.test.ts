import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { ClientRequest } from 'node:http'
import { test } from 'node:test'
import { lines, openLine } from './lines.ts'

/** Node tells here of each answer that it reads itself. */
const channel = 'http.client.response.finish'

for (const line of lines)
  test(`${line.name}: ${line.isDiverted ? 'Larder' : 'Node'} reads the body`, async (t) => {
    const { hub, blob, matcher, pull } = await openLine(t, line)
    const host = new URL(matcher.listener === 'cdn' ? hub.cdnUrl : hub.url).host
    let read = 0
    const note = (message: unknown): void => {
      const { request } = message as { request: ClientRequest }
      const isBody = request.method === 'GET' && request.path.includes(blob.digest.slice(7))
      if (request.getHeader('host') === host && isBody) read += 1
    }
    subscribe(channel, note)
    t.after(() => void unsubscribe(channel, note))
    assert.equal((await pull()).digest, blob.digest)
    assert.equal(read, line.isDiverted ? 0 : 1)
  })
