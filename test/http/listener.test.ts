import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { connect as connectPlain } from 'node:net'
import { test } from 'node:test'
import { connect } from 'node:tls'
import { pull } from '../support/client.ts'
import { startMirror } from '../support/mirror.ts'
import { selfSigned } from '../upstream/fixtures.ts'
import { certificateFolder } from './certificate-folder.ts'

/** The fingerprint of the certificate that a port shows, and the status line of `GET /v2/`. */
async function ask(port: number): Promise<{ fingerprint: string; status: string }> {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const fingerprint = socket.getPeerCertificate().fingerprint256
  socket.write('GET /v2/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
  let answer = ''
  for await (const chunk of socket) answer += chunk
  return { fingerprint, status: answer.split('\r\n')[0] ?? '' }
}

test('with a certificate it speaks TLS, and takes a renewed one without a restart', {
  timeout: 60_000,
}, async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { certificate, key, renew } = await certificateFolder(t)
  const config = { 'server.tls.certificate': certificate, 'server.tls.key': key }
  await using mirror = await startMirror({ upstream: 'http://127.0.0.1:9', config })
  const first = await ask(mirror.port)
  assert.equal(first.status, 'HTTP/1.1 200 OK')
  await renew()
  do t.mock.timers.tick(10_000)
  while ((await ask(mirror.port)).fingerprint === first.fingerprint)
  assert.match(mirror.log(), /took the changed certificate/)
})

test('a certificate file that is none is named, and nothing listens', async (t) => {
  const { certificate, key } = await certificateFolder(t)
  await writeFile(certificate, 'no certificate')
  const config = { 'server.tls.certificate': certificate, 'server.tls.key': key }
  await assert.rejects(
    startMirror({ upstream: 'http://127.0.0.1:9', config }),
    /server\.tls\.certificate: .*tls\.crt holds no certificate/,
  )
})

test('a renewal that is wrong changes nothing, and the log says what is wrong with it', {
  timeout: 60_000,
}, async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { certificate, key } = await certificateFolder(t)
  const config = { 'server.tls.certificate': certificate, 'server.tls.key': key }
  await using mirror = await startMirror({ upstream: 'http://127.0.0.1:9', config })
  const first = await ask(mirror.port)
  const wrongs: [file: string, content: string, RegExp][] = [
    [
      key,
      (await selfSigned('DNS:localhost')).key,
      /tls\.key is the key of another certificate than .*tls\.crt/,
    ],
    [certificate, '', /tls\.crt is empty/],
  ]
  for (const [file, content, words] of wrongs) {
    await writeFile(file, content)
    do {
      t.mock.timers.tick(10_000)
      assert.equal((await ask(mirror.port)).fingerprint, first.fingerprint)
    } while (!words.test(mirror.log()))
  }
  assert.doesNotMatch(mirror.log(), /took the changed certificate/)
})

for (const isSecure of [false, true]) {
  test(`a connection that nothing was asked on holds up no stop (${isSecure ? 'TLS' : 'plain'})`, {
    timeout: 20_000,
  }, async (t) => {
    const { certificate, key } = await certificateFolder(t)
    const tls = isSecure && { 'server.tls.certificate': certificate, 'server.tls.key': key }
    const config = { ...tls, 'server.shutdownGrace': '1h' }
    const mirror = await startMirror({ upstream: 'http://127.0.0.1:9', config })
    const closings: Promise<unknown>[] = []
    for (let count = 0; count < 3; count += 1) {
      const to = { port: mirror.port, host: '127.0.0.1' }
      const socket = isSecure ? connect({ ...to, rejectUnauthorized: false }) : connectPlain(to)
      // Where the end of its handshake is not read yet, it is reset: it is closed all the same.
      socket.on('error', () => {})
      closings.push(new Promise((resolve) => socket.once('close', resolve)))
      await once(socket, isSecure ? 'secureConnect' : 'connect')
    }
    // It comes behind them: they have been accepted.
    if (!isSecure) assert.equal((await pull(`${mirror.url}/v2/`)).status, 200)
    await mirror[Symbol.asyncDispose]()
    await Promise.all(closings)
  })
}
