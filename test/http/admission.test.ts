/**
 * Who is let in where descriptors are few. Thought of: connections beyond their part, over plain HTTP and TLS, that get the
 * word to come again, and health all the same; an idle connection that makes room; requests that wait for what others
 * hold, in turn by client, with a patience, and that leave; what is kept for later given back; where descriptors are
 * many, that nobody is counted.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { pino } from 'pino'
import { Admission } from '../../src/http/admission.ts'
import { processDescriptors } from '../../src/http/descriptors.ts'
import { letGoListener } from '../../src/http/let-go.ts'
import { Listener } from '../../src/http/listener.ts'
import { RequestContext } from '../../src/http/request-context.ts'
import { TrustedProxies } from '../../src/http/trusted-proxies.ts'
import { until } from '../support/settle.ts'
import { certificateFolder } from './certificate-folder.ts'

type StageOptions = {
  readonly limit?: number
  readonly patienceMs?: number
  readonly idleMs?: number
  readonly tls?: { readonly certificate: string; readonly key: string }
}

/** A listener whose requests take as many descriptors as the test says; `answer` ends the oldest that was let in. */
async function stage(t: TestContext, options: StageOptions = {}) {
  const { limit = 60, patienceMs = 10_000, idleMs = 60_000, tls } = options
  const admitted: RequestContext[] = []
  const letGo: string[] = []
  const lines: string[] = []
  let shortages = 0
  let open = 20
  let looks = 0
  const onLetGo = (reason: string) => void letGo.push(reason)
  const logger = pino({ level: 'warn' }, { write: (line: string) => void lines.push(line) })
  const admission = new Admission({
    descriptors: {
      limit,
      open: () => {
        looks += 1
        return open
      },
    },
    patienceMs,
    idleMs,
    onShortage: () => {
      shortages += 1
    },
    onLetGo,
    logger,
  })
  const enter = admission.enter.bind(admission)
  admission.enter = (socket) => {
    open += 1
    socket.once('close', () => {
      open -= 1
    })
    enter(socket)
  }
  const listener = await Listener.open(
    {
      onArrival: () => {},
      async answer(request, response) {
        if (request.url === '/readyz') return void response.end('ready')
        const context = new RequestContext(request, response)
        response.once('close', () => context.end())
        try {
          await admission.turn(context)
          admitted.push(context)
        } catch (error) {
          const { status, retryAfterSeconds } = error as { status?: number; retryAfterSeconds?: number }
          response.writeHead(status ?? 500, { 'retry-after': String(retryAfterSeconds) }).end()
        }
      },
    },
    {
      addresses: [{ host: '127.0.0.1', port: 0 }],
      tls,
      graceMs: 0,
      connectionsPerClient: 1000,
      admission,
      proxies: new TrustedProxies([]),
      onCut: () => {},
      onLetGo,
      logger,
    },
  )
  t.after(() => listener[Symbol.asyncDispose]())
  const [port = 0] = listener.ports
  const connected = async (localAddress = '127.0.0.1'): Promise<Socket> => {
    const to = { port, host: '127.0.0.1', localAddress }
    const socket = tls ? connectTls({ ...to, rejectUnauthorized: false }) : connect(to)
    t.after(() => socket.destroy())
    socket.on('error', () => {})
    await once(socket, tls ? 'secureConnect' : 'connect')
    return socket
  }
  return {
    admitted,
    letGo,
    lines,
    connected,
    /** Asks for a path on a connection of its own. */
    async ask(path = '/v2/', localAddress?: string) {
      const socket = await connected(localAddress)
      return { socket, answer: answerOf(socket, path) }
    },
    get shortages() {
      return shortages
    },
    get looks() {
      return looks
    },
    use: (count: number) => {
      open += count
    },
  }
}

/** What comes first on the connection; nothing where it was closed or reset before, as those are that are let go. */
async function answerOf(socket: Socket, path: string): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  socket.once('data', (piece) => resolve(`${piece}`)).once('close', () => resolve(''))
  socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`)
  return promise
}

/** 60 less 20 that are open and 8 to spare leave 32: 14 connections, 4 that are turned away, and 14 for requests. */
const most = 14

for (const scheme of ['http', 'https']) {
  test(`${scheme}: who finds all connections taken is told when to come again, and how the mirror is`, async (t) => {
    const tls = scheme === 'https' ? await certificateFolder(t) : undefined
    const s = await stage(t, tls ? { tls } : {})
    const first: Socket[] = []
    for (let n = 0; n < most; n += 1) first.push(await s.connected())
    const more = await s.ask()
    const answer = await more.answer
    assert.match(answer, /^HTTP\/1\.1 503 /)
    assert.match(answer, /\r\nretry-after: 1\r\n/i)
    assert.match(answer, /\r\nconnection: close\r\n/i)
    const health = await s.ask('/readyz')
    assert.match(await health.answer, /^HTTP\/1\.1 200 [\s\S]*connection: close/i)
    assert.equal(s.lines.filter((line) => line.includes('more are told to come again')).length, 1)
    assert.deepEqual(s.letGo, [])
    first[0]?.destroy()
    await until(async () => {
      await s.ask()
      return s.admitted.length > 0
    })
  })
}

test('a connection on which nothing is asked makes room, the longest idle one first', async (t) => {
  const s = await stage(t, { idleMs: 0 })
  const sockets: Socket[] = []
  for (let n = 0; n < most; n += 1) sockets.push((await s.connected()).resume())
  // Whoever waits for an answer is not idle.
  const [working, idle, ...others] = sockets
  assert.ok(working && idle)
  void answerOf(working, '/v2/')
  await until(() => s.admitted.length === 1)
  const more = await s.ask('/readyz')
  assert.match(await more.answer, /^HTTP\/1\.1 200 /)
  await until(() => idle.closed)
  assert.ok([working, ...others].every(({ closed }) => !closed))
})

test('where all take long to ask, the one that was turned away first is let go', async (t) => {
  const s = await stage(t)
  for (let n = 0; n < most; n += 1) await s.connected()
  const silent = (await s.connected()).resume()
  // 57 are open, of 60: the last four are not for those who are turned away.
  s.use(57 - 20 - most - 1)
  const later = await s.connected()
  await until(() => silent.closed)
  assert.deepEqual(s.letGo, ['crowd'])
  assert.match(await answerOf(later, '/v2/'), /^HTTP\/1\.1 503 /)
})

/** At three each, beside 20 that are open, 8 to spare, 14 connections and 4 that are turned away. */
const atOnce = 4

test('many who are turned away and ask for nothing stop nobody where descriptors are many', async (t) => {
  const s = await stage(t, { limit: 428 })
  const pauses = t.mock.method(Atomics, 'wait')
  // 400 are left: 175 connections, and at most 64 that are turned away.
  const sockets: Socket[] = []
  for (let n = 0; n < 175 + 64; n += 1) sockets.push((await s.connected()).resume())
  assert.deepEqual(s.letGo, [])
  await s.connected()
  await until(() => sockets[175]?.closed === true)
  assert.deepEqual(s.letGo, ['crowd'])
  assert.equal(pauses.mock.callCount(), 0)
})

test('a request waits until what it opens is sure to be there, and others give back what they keep', async (t) => {
  const s = await stage(t)
  for (let n = 0; n < atOnce + 3; n += 1) await s.ask()
  await until(() => s.shortages > 0)
  assert.equal(s.admitted.length, atOnce)
  // Its answer has begun, for which it opened one: what was to be opened is less, but not by a whole turn.
  s.use(1)
  s.admitted[0]?.response.writeHead(200).flushHeaders()
  await until(() => s.admitted.length === atOnce + 1)
  s.admitted[1]?.response.end('done')
  await until(() => s.admitted.length === atOnce + 2)
  // What it has opened counts as long as it is open.
  s.use(3)
  s.admitted[2]?.response.end('done')
  const { shortages } = s
  await until(() => s.shortages > shortages + 3)
  assert.equal(s.admitted.length, atOnce + 2)
  s.use(-3)
  await until(() => s.admitted.length === atOnce + 3)
})

test('whose client has the least goes first', async (t) => {
  const s = await stage(t)
  for (let n = 0; n < atOnce + 2; n += 1) await s.ask('/v2/', '127.0.0.2')
  await until(() => s.shortages > 0)
  await s.ask('/v2/', '127.0.0.3')
  const { shortages } = s
  await until(() => s.shortages > shortages + 1)
  s.admitted[0]?.response.end()
  await until(() => s.admitted.length > atOnce)
  assert.equal(s.admitted[atOnce]?.client, '127.0.0.3')
})

test('a request that waits for too long is told when to come again; one that leaves is forgotten', async (t) => {
  const s = await stage(t, { patienceMs: 200 })
  s.use(100)
  const first = await s.ask()
  await until(() => s.admitted.length === 1, { what: 'one is served, however few there are' })
  const leaving = await s.ask()
  await until(() => s.shortages > 0)
  leaving.socket.destroy()
  const second = await s.ask()
  assert.match(await second.answer, /^HTTP\/1\.1 503 [\s\S]*retry-after: 1\r\n/i)
  s.admitted[0]?.response.end('first')
  assert.match(await first.answer, /^HTTP\/1\.1 200 /)
  const third = await s.ask()
  await until(() => s.admitted.length === 2)
  s.admitted[1]?.response.end('third')
  assert.match(await third.answer, /^HTTP\/1\.1 200 /)
})

test('where descriptors are many nobody looks, and no connection is closed with its answer', async (t) => {
  const s = await stage(t, { limit: 20_000 })
  const looks = s.looks
  const [one, other] = [await s.ask(), await s.ask()]
  await until(() => s.admitted.length === 2)
  for (const { response } of s.admitted) response.end('served')
  for (const { answer } of [one, other]) assert.doesNotMatch(await answer, /connection: close/i)
  assert.equal(s.looks, looks)
  assert.deepEqual(s.lines, [])
})

test('the pull of a client that was let go says so where it is not whole', () => {
  const told: unknown[] = []
  const counted: string[] = []
  const hear = letGoListener(
    { countLetGo: (reason) => void counted.push(reason) },
    { letGo: ({ client, reason }) => void told.push([client, reason]) },
  )
  hear('crowd', { remoteAddress: '127.0.0.2' } as Socket)
  const reason = 'connections of this client were closed, since too many of all clients were open (ulimit -n)'
  assert.deepEqual(told, [['127.0.0.2', reason]])
  assert.deepEqual(counted, ['crowd'])
})

test('what this process may have open is what its report says', () => {
  const { userLimits } = process.report.getReport() as unknown as {
    userLimits: { open_files: { soft: number | 'unlimited' } }
  }
  const { soft } = userLimits.open_files
  assert.equal(processDescriptors().limit, soft === 'unlimited' ? Number.POSITIVE_INFINITY : soft)
})

test('what this process has open is counted, and what it may have', async (t) => {
  const descriptors = processDescriptors()
  const before = descriptors.open()
  assert.ok(before > 3 && before < descriptors.limit)
  const s = await stage(t)
  await s.connected()
  // Both ends of it are here, and the other one as soon as it is accepted.
  await until(() => descriptors.open() >= before + 3)
})
