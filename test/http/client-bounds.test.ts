/**
 * What one client may take. Thought of: connections beyond the bound, over plain HTTP and over TLS, and room again; another
 * address; the line in the log, once; transfers beyond the bound, in their order, that hold nothing while they wait, that are
 * left, and whose turn does not come; a client that takes nothing of a blob, and of a manifest, or sends nothing.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage, pseudoRandomBytes } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'
import { certificateFolder } from './certificate-folder.ts'
import { get, mebibyte } from './request-log-fixture.ts'

async function connectFrom(localAddress: string, port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', localAddress })
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket.resume()
}

const schemes: Record<string, (t: TestContext) => Promise<Record<string, unknown>>> = {
  http: async () => ({}),
  https: async (t) => {
    const { certificate, key } = await certificateFolder(t)
    return { 'server.tls.certificate': certificate, 'server.tls.key': key }
  },
}
for (const [scheme, tls] of Object.entries(schemes)) {
  test(`${scheme}: connections beyond the bound are closed at once, until there is room again`, async (t) => {
    await using mirror = await startMirror({
      upstream: 'http://127.0.0.1:9',
      config: { 'limits.perClient.connections': 3, 'server.listen': ['127.0.0.1:0'], ...(await tls(t)) },
    })
    const refusals = () => mirror.events().filter(({ msg }) => /as many connections as/.test(String(msg)))
    const sockets = [await connectFrom('127.0.0.2', mirror.port), await connectFrom('127.0.0.2', mirror.port)]
    sockets.push(await connectFrom('127.0.0.2', mirror.port))
    for (let more = 0; more < 2; more += 1) {
      const refused = await connectFrom('127.0.0.2', mirror.port)
      await until(() => refused.closed)
    }
    assert.equal(refusals().length, 1, 'one line a minute')
    assert.equal(refusals()[0]?.client, '127.0.0.2')
    sockets.push(await connectFrom('127.0.0.3', mirror.port))
    for (const socket of sockets) assert.equal(socket.closed, false)
    sockets[0]?.destroy()
    await until(async () => {
      const socket = await connectFrom('127.0.0.2', mirror.port)
      sockets.push(socket)
      if (scheme === 'https') return true
      let isAnswered = false
      socket.once('data', () => {
        isAnswered = true
      })
      socket.write('GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n')
      // One that is refused still is reset rather than closed where its request comes after that.
      await until(() => isAnswered || socket.closed)
      return isAnswered
    })
    for (const socket of sockets) socket.destroy()
  })
}

test('a pull whose other connections are closed did not finish, and its line says why', async () => {
  await using hub = await startDockerHub()
  const image = buildImage({
    layers: [pseudoRandomBytes(100_000, 'one'), pseudoRandomBytes(100_000, 'other')],
  })
  hub.addImage('library/app', 'latest', image)
  await using mirror = await startMirror({
    upstream: hub.url,
    config: { 'limits.perClient.connections': 1 },
    pullIdleMs: 100,
  })
  const [one, other] = image.layers
  assert.ok(one && other)
  const first = await connectFrom('127.0.0.2', mirror.port)
  first.write(get('/v2/library/app/manifests/latest') + get(`/v2/library/app/blobs/${one.digest}`))
  await until(() => mirror.events('request').length === 2)
  const second = await connectFrom('127.0.0.2', mirror.port)
  second.write(get(`/v2/library/app/blobs/${other.digest}`))
  await until(() => second.closed)
  const outcomes = () => mirror.events().filter(({ outcome }) => outcome !== undefined)
  await until(() => outcomes().length === 1)
  const [line] = outcomes()
  assert.deepEqual([line?.level, line?.outcome], ['warn', 'failed'])
  assert.match(String(line?.msg), /^pull did not finish: .*limits\.perClient\.connections/)
  first.destroy()
})

test('transfers beyond the bound wait their turn and ask nobody meanwhile; another client does not', async () => {
  await using hub = await startDockerHub()
  await using mirror = await startMirror({ upstream: hub.url, config: { 'limits.perClient.transfers': 1 } })
  const [first, second, left] = ['first', 'second', 'left'].map((seed) =>
    hub.addBlob('library/app', pseudoRandomBytes(100_000, seed)),
  )
  assert.ok(first && second && left)
  const url = ({ digest }: { digest: string }) => `${mirror.url}/v2/library/app/blobs/${digest}`
  using hold = hub.hold({ listener: 'cdn', digest: first.digest }, 50_000)
  const begun = pull(url(first))
  await hold.reached
  const leaving = await connectFrom('127.0.0.1', mirror.port)
  leaving.write(get(`/v2/library/app/blobs/${left.digest}`))
  const waiting = pull(url(second))
  await until(async () => (await mirror.metric('larder_client_turns_total')) === 2)
  assert.equal(mirror.app.underWay.requests, 3)
  const elsewhere = await connectFrom('127.0.0.2', mirror.port)
  elsewhere.write(get(`/v2/library/app/blobs/${second.digest}`, 'Connection: close\r\n'))
  await once(elsewhere, 'close')
  leaving.destroy()
  await until(() => mirror.app.underWay.requests === 2)
  hold.release()
  assert.equal((await begun).digest, first.digest)
  assert.equal((await waiting).digest, second.digest)
  assert.equal(hub.count({ digest: left.digest }), 0, 'it left before its turn')
})

for (const bound of ['transfers', 'fills']) {
  test(`${bound}: who gets no turn in time is told to come again and by which setting, and a warning says so once`, async () => {
    await using hub = await startDockerHub()
    const config = { [`limits.perClient.${bound}`]: 1 }
    await using mirror = await startMirror({ upstream: hub.url, config, patienceMs: 50 })
    const [blob, other] = ['alone', 'more'].map((seed) =>
      hub.addBlob('library/app', pseudoRandomBytes(100_000, seed)),
    )
    assert.ok(blob && other)
    const url = `${mirror.url}/v2/library/app/blobs`
    using hold = hub.hold({ listener: 'cdn', digest: blob.digest }, 50_000)
    const begun = pull(`${url}/${blob.digest}`)
    await hold.reached
    for (let tries = 0; tries < 2; tries += 1) {
      const { status, headers, text } = await pull(`${url}/${other.digest}`)
      assert.deepEqual([status, headers['retry-after']], [429, '10'])
      assert.match(text, new RegExp(`"TOOMANYREQUESTS".*limits\\.perClient\\.${bound}.*mirror\\.yml`))
    }
    const shown = (await pull(`${mirror.url}/metrics`)).text
    assert.match(
      shown,
      new RegExp(`^larder_client_turns_total\\{bound="${bound}",outcome="refused"\\} 2$`, 'm'),
    )
    const warnings = mirror.events('a client takes more than one may have')
    assert.deepEqual(
      warnings.map(({ level, client }) => [level, client]),
      [['warn', '127.0.0.1']],
    )
    assert.match(String(warnings[0]?.reason), new RegExp(`limits\\.perClient\\.${bound}`))
    hold.release()
    assert.equal((await begun).digest, blob.digest)
  })
}

test('whoever waits for one bound after the other waits no longer in all', async (t) => {
  await using hub = await startDockerHub()
  const config = { 'limits.perClient.transfers': 2, 'limits.perClient.fills': 1 }
  const patienceMs = 1000
  await using mirror = await startMirror({ upstream: hub.url, config, patienceMs })
  const [held, ...others] = ['held', 'one', 'two', 'three'].map((seed) =>
    hub.addBlob('library/app', pseudoRandomBytes(100_000, seed)),
  )
  assert.ok(held)
  const url = ({ digest }: { digest: string }) => `${mirror.url}/v2/library/app/blobs/${digest}`
  using hold = hub.hold({ listener: 'cdn' }, 50_000)
  const begun = pull(url(held))
  await hold.reached
  // Not by the clock: a machine that stands still for a while is one beat, and no patience of the mirror's.
  const beatsOfPatience = 20
  let beats = 0
  const beating = setInterval(() => {
    beats += 1
  }, patienceMs / beatsOfPatience)
  t.after(() => clearInterval(beating))
  // The first one has a transfer and waits for a fill; the others wait for its transfer, and then for a fill.
  const refused = await Promise.all(others.map((blob) => pull(url(blob))))
  assert.ok(beats < 1.7 * beatsOfPatience, `${beats} of ${beatsOfPatience}`)
  for (const { status, text } of refused) {
    assert.equal(status, 429)
    assert.match(text, /limits\.perClient\.(?:transfers|fills)/)
  }
  hold.release()
  assert.equal((await begun).digest, held.digest)
})

test('who takes or sends nothing is let go: a line says why, a metric counts it, and all is given back', async () => {
  await using hub = await startDockerHub()
  await using mirror = await startMirror({
    upstream: hub.url,
    config: { 'limits.perClient.stall': '1s', 'local.push': 'this-machine' },
  })
  const blob = hub.addBlob('library/app', pseudoRandomBytes(16 * mebibyte, 'stalled'))
  const path = `/v2/library/app/blobs/${blob.digest}`
  assert.equal((await pull(mirror.url + path)).digest, blob.digest)
  const [taking, sending] = [
    await connectFrom('127.0.0.1', mirror.port),
    await connectFrom('127.0.0.1', mirror.port),
  ]
  taking.pause().write(get(path))
  sending.write(
    'POST /v2/mine/blobs/uploads/?digest=sha256:0000000000000000000000000000000000000000000000000000000000000000 HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhello',
  )
  await until(() => mirror.events('request').length === 3)
  const [, ...lines] = mirror.events('request')
  assert.deepEqual(new Set(lines.map(({ ended, level }) => `${ended} ${level}`)), new Set(['broken warn']))
  const reasons = lines.map(({ error }) => error).sort()
  assert.deepEqual(reasons, ['the client sent nothing for 1 s', 'the client took nothing for 1 s'])
  const { text } = await pull(`${mirror.url}/metrics`)
  for (const reason of ['taking', 'sending'])
    assert.match(text, new RegExp(`^larder_clients_let_go_total\\{reason="${reason}"\\} 1$`, 'm'))
  assert.match(text, /^larder_transfer_buffers_bytes 0$/m)
  await once(taking.resume(), 'close')
})
