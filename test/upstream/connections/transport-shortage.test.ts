/**
 * Descriptors that are short while an upstream is asked. Thought of: for a moment, and for too long; those of this process
 * and of the whole system; connections that lie idle; that the upstream is not taken for dead.
 */
import assert from 'node:assert/strict'
import http from 'node:http'
import { Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { UpstreamError } from '../../../src/upstream/error.ts'
import { collect, listen, transportTo } from '../fixtures.ts'

/** As the kernel refuses a socket; `times`: how often, after which connections are made. */
function refuseSockets(t: TestContext, code: string, times: number): () => number {
  let asked = 0
  const { createConnection } = http.Agent.prototype
  t.mock.method(http.Agent.prototype, 'createConnection', function (this: http.Agent, ...parameters: never) {
    asked += 1
    if (asked > times) return createConnection.apply(this, parameters)
    const socket = new Socket()
    setImmediate(() => socket.destroy(Object.assign(new Error(`connect ${code}`), { code })))
    return socket
  })
  return () => asked
}

for (const code of ['EMFILE', 'ENFILE']) {
  test(`${code} for a moment: it is waited for, and what lies idle is closed`, async (t) => {
    const server = await listen(t, (_, response) => void response.end('served'))
    const other = await listen(t, (_, response) => void response.end('idle'))
    const transport = transportTo(t, server.url)
    const idle = await transport.request({ method: 'GET', url: new URL(other.url) })
    await collect(idle.body())
    const asked = refuseSockets(t, code, 2)
    const response = await transport.request({ method: 'GET', url: new URL(server.url) })
    assert.equal(String(await collect(response.body())), 'served')
    assert.equal(asked(), 3)
    t.mock.restoreAll()
    const again = await transport.request({ method: 'GET', url: new URL(other.url) })
    await collect(again.body())
    assert.equal(other.connections(), 2)
  })

  test(`${code} for too long: it is our own trouble, and nobody takes the upstream for dead`, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const server = await listen(t, (_, response) => void response.end())
    const transport = transportTo(t, server.url)
    refuseSockets(t, code, Number.POSITIVE_INFINITY)
    let now = performance.now()
    t.mock.method(performance, 'now', () => now)
    const tick = setInterval(() => {
      now += 200
      t.mock.timers.tick(200)
    }, 1)
    t.after(() => clearInterval(tick))
    const asking = transport.request({ method: 'GET', url: new URL(server.url) })
    await assert.rejects(asking, (error) => {
      assert.ok(error instanceof UpstreamError)
      assert.match(error.message, /^too many files and connections are open here/)
      assert.deepEqual([error.code, error.opensCircuit, error.retryAfterSeconds], ['CROWDED', false, 1])
      return true
    })
  })
}
