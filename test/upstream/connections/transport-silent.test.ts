import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { LineUse } from '../../../src/upstream/connections/line-use.ts'
import type { TransportOptions } from '../../../src/upstream/connections/transport.ts'
import { until } from '../../support/settle.ts'
import { collect, listen, selfSigned, transportTo } from '../fixtures.ts'
import { forwardProxy } from './forward-proxy.ts'

// A router forgets a connection that lies idle, or the line gets a new address, and nobody says so: what is sent on it
// is swallowed. Neighbours: GET and HEAD; with and without TLS; through the tunnel of a proxy; several of them; a line
// full of blobs; an answer that is only late, once and every time; a new connection that is swallowed, too; one that
// is refused while the late answer still comes; a caller who leaves.

const certificate = await selfSigned('IP:127.0.0.1,DNS:registry.test')
const patienceMs = 500

type Router = {
  readonly port: number
  /** Connections ever opened through it. */
  readonly opened: () => number
  /** Swallows all that comes on the connections that are there. */
  forget(): void
  /** Accepts no more connections. */
  close(): void
}

async function routerTo(t: TestContext, port: number): Promise<Router> {
  const forgotten = new Set<Socket>()
  const sockets = new Set<Socket>()
  let opened = 0
  const server = createServer((client) => {
    opened += 1
    const onward = connect(port, '127.0.0.1')
    for (const [from, to] of [
      [client, onward],
      [onward, client],
    ] as const) {
      sockets.add(from)
      from.on('error', () => {})
      from.on('data', (bytes: Buffer) => {
        if (!forgotten.has(client)) to.write(bytes)
      })
      from.once('close', () => to.destroy())
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return {
    port: (server.address() as AddressInfo).port,
    opened: () => opened,
    forget: () => {
      for (const socket of sockets) forgotten.add(socket)
    },
    close: () => void server.close(),
  }
}

const ways = { plain: {}, TLS: { isSecure: true }, tunnel: { isSecure: true, isProxied: true } }

for (const [way, { isSecure = false, isProxied = false }] of Object.entries(
  ways as Record<string, { isSecure?: boolean; isProxied?: boolean }>,
)) {
  for (const method of ['GET', 'HEAD'] as const) {
    test(`${way}: a kept connection that swallows the ${method} costs a part of the patience, and no failure`, async (t) => {
      const server = await listen(t, (_request, response) => void response.end('ok'), {
        ...(isSecure ? { tls: certificate } : {}),
      })
      const router = await routerTo(t, server.port)
      const url = new URL(
        `${isSecure ? 'https' : 'http'}://${isProxied ? 'registry.test' : '127.0.0.1'}:${router.port}/`,
      )
      const options: Partial<TransportOptions> & { ca?: string; proxyEnvironment?: NodeJS.ProcessEnv } = {
        patienceMs,
      }
      if (isSecure) options.ca = certificate.cert
      if (isProxied)
        options.proxyEnvironment = { HTTPS_PROXY: (await forwardProxy(t, () => router.port)).url }
      const transport = transportTo(t, url.href, options)
      const ask = async (how: 'GET' | 'HEAD') => {
        const response = await transport.request({ method: how, url })
        await collect(response.body())
        return response.status
      }
      // Several lie idle, and all are forgotten.
      assert.deepEqual(await Promise.all([ask('GET'), ask('GET'), ask('GET')]), [200, 200, 200])
      router.forget()
      const began = performance.now()
      assert.equal(await ask(method), 200)
      const ms = performance.now() - began
      // How much less than the patience depends on how busy the machine is.
      assert.ok(ms > patienceMs / 2, `${ms} ms`)
      assert.deepEqual([server.requests.length, router.opened()], [4, 4])
    })
  }
}

/** A server whose answers come when they are let go, but the first. */
async function lateServer(t: TestContext) {
  const waiting: (() => void)[] = []
  let isFirst = true
  const server = await listen(t, (_request, response) => {
    const answer = (): void => void response.end('ok')
    if (isFirst) answer()
    else waiting.push(answer)
    isFirst = false
  })
  return { server, waiting }
}

test('an answer that is only late is taken; and the next one is given more time', async (t) => {
  const { server, waiting } = await lateServer(t)
  const transport = transportTo(t, server.url, { patienceMs })
  const url = new URL(server.url)
  const ask = async () => {
    const response = await transport.request({ method: 'GET', url })
    return (await collect(response.body())).toString()
  }
  await ask()
  const second = ask()
  await until(() => server.requests.length === 3)
  waiting[0]?.()
  assert.equal(await second, 'ok')
  const began = performance.now()
  const third = ask()
  await until(() => waiting.length === 4)
  assert.ok(performance.now() - began > patienceMs, 'twice as long as before')
  waiting[2]?.()
  assert.equal(await third, 'ok')
})

test('a late answer is taken although nobody takes new connections', async (t) => {
  const { server, waiting } = await lateServer(t)
  const router = await routerTo(t, server.port)
  const url = new URL(`http://127.0.0.1:${router.port}`)
  const transport = transportTo(t, url.href, { patienceMs })
  const ask = async () => collect((await transport.request({ method: 'GET', url })).body())
  await ask()
  router.close()
  const second = ask()
  await until(() => waiting.length === 1)
  await new Promise((resolve) => setTimeout(resolve, patienceMs))
  waiting[0]?.()
  assert.equal((await second).toString(), 'ok')
})

test('while blobs come in an answer is given three times as long', async (t) => {
  const { server, waiting } = await lateServer(t)
  const lineUse = new LineUse()
  const transport = transportTo(t, server.url, { patienceMs, lineUse })
  const url = new URL(server.url)
  const ask = async () => collect((await transport.request({ method: 'GET', url })).body())
  await ask()
  const blobs = setInterval(() => lineUse.note('docker.io'), 10)
  t.after(() => clearInterval(blobs))
  const second = ask()
  const began = performance.now()
  await until(() => waiting.length === 2)
  assert.ok(performance.now() - began > 1.5 * patienceMs)
  waiting[1]?.()
  assert.equal((await second).toString(), 'ok')
})

for (const line of ['quiet', 'busy']) {
  test(`a ${line} line, and patience for longer than a connection may be silent: a kept one that swallows costs no failure`, async (t) => {
    const server = await listen(t, (_request, response) => void response.end('ok'))
    const router = await routerTo(t, server.port)
    const url = new URL(`http://127.0.0.1:${router.port}/`)
    const lineUse = new LineUse()
    const transport = transportTo(t, url.href, { patienceMs: 60_000, stallMs: 1000, lineUse })
    const ask = async () => collect((await transport.request({ method: 'GET', url })).body())
    await ask()
    router.forget()
    const blobs = line === 'busy' ? setInterval(() => lineUse.note('docker.io'), 10) : undefined
    t.after(() => clearInterval(blobs))
    assert.equal((await ask()).toString(), 'ok')
    assert.deepEqual([server.requests.length, router.opened()], [2, 2])
  })
}

test('however often an answer was only late, a connection that swallows is found out', async (t) => {
  const { server, waiting } = await lateServer(t)
  const transport = transportTo(t, server.url, { patienceMs: 100, stallMs: 3000 })
  const url = new URL(server.url)
  const ask = async () => collect((await transport.request({ method: 'GET', url })).body())
  await ask()
  for (let times = 0; times < 7; times += 1) {
    const late = ask()
    await until(() => waiting.length === 2 * times + 2)
    waiting[2 * times]?.()
    assert.equal((await late).toString(), 'ok')
  }
  const swallowed = ask()
  await until(() => waiting.length === 16)
  waiting[15]?.()
  assert.equal((await swallowed).toString(), 'ok')
})

test('a new connection that says nothing is not given up for another one', async (t) => {
  const server = await listen(t, () => {})
  const transport = transportTo(t, server.url, { patienceMs, stallMs: 3 * patienceMs })
  await assert.rejects(transport.request({ method: 'GET', url: new URL(server.url) }), { code: 'TIMED_OUT' })
  assert.equal(server.requests.length, 1)
})

test('whoever leaves ends both', async (t) => {
  const { server, waiting } = await lateServer(t)
  const transport = transportTo(t, server.url, { patienceMs })
  const url = new URL(server.url)
  await collect((await transport.request({ method: 'GET', url })).body())
  const leave = new AbortController()
  const asked = transport.request({ method: 'GET', url, signal: leave.signal })
  await until(() => waiting.length === 2)
  leave.abort(new Error('gone'))
  await assert.rejects(asked, /gone/)
})
