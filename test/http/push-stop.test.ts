/**
 * A stop while clients push. Thought of: clients that go on to ask on kept connections, one whose blob is still on its
 * way and ends within the grace, one that sends nothing more and does not leave.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import { test } from 'node:test'
import { blobOf, pseudoRandomBytes } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { beginUpload, withDigest } from '../support/push.ts'
import { until } from '../support/settle.ts'

const blob = blobOf(pseudoRandomBytes(200_000, 'stop'))

function start(grace: string) {
  return startMirror({ upstream: 'http://127.0.0.1:9', config: { 'server.shutdownGrace': grace } })
}

test('from a stop on a kept connection is closed with its next answer, and uploads have the grace', {
  timeout: 60_000,
}, async () => {
  // Whoever is served on until its end is so for longer than this test.
  const mirror = await start('1h')
  const repository = `${mirror.url}/v2/app`
  const late = await beginUpload(repository)
  let [pushed, isStopping] = [0, false]
  const answersAfter: (string | undefined)[] = []
  const clients = Array.from({ length: 4 }, async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    const ask = async (method: string, url: string, body?: Uint8Array) => {
      const isAfter = isStopping
      const request = http.request(url, { method, agent }).end(body)
      const [response] = await once(request, 'response')
      response.resume()
      await once(response, 'end')
      if (isAfter) answersAfter.push(response.headers.connection)
      return new URL(response.headers.location ?? '', url).href
    }
    try {
      for (;;) {
        const upload = await ask('POST', `${repository}/blobs/uploads/`)
        await ask('PUT', withDigest(upload, blob.digest), blob.bytes)
        pushed += 1
      }
    } catch {
      agent.destroy()
    }
  })
  const put = http.request(withDigest(late, blob.digest), { method: 'PUT' })
  put.write(blob.bytes.subarray(0, 100_000))
  await until(() => pushed >= 3 * clients.length)
  isStopping = true
  const stopped = mirror[Symbol.asyncDispose]()
  await Promise.all(clients)
  assert.deepEqual(new Set(answersAfter), new Set(answersAfter.length > 0 ? ['close'] : []))
  assert.ok(answersAfter.length <= clients.length, String(answersAfter.length))
  put.end(blob.bytes.subarray(100_000))
  const [{ statusCode, headers }] = await once(put, 'response')
  assert.deepEqual([statusCode, headers.connection], [201, 'close'])
  await stopped
})

test('who sends nothing more and does not leave is cut at the end of the grace', async () => {
  const mirror = await start('10ms')
  const patch = http.request(await beginUpload(`${mirror.url}/v2/app`), { method: 'PATCH' })
  const failed = new Promise((resolve) => patch.once('error', resolve))
  patch.write(blob.bytes.subarray(0, 100_000))
  await until(() => mirror.app.underWay.requests === 1)
  await mirror[Symbol.asyncDispose]()
  await failed
})
