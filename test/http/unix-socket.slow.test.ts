/**
 * What lies at the path of a Unix socket. Neighbours: nothing; a socket whose process was killed; one that a
 * program listens at, with room and with a full queue; a datagram socket; a file; an empty file; a folder; a link to a file, to a
 * socket and to nothing; a folder that is missing; two mirrors that start with the same path; TLS.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { lstat, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { finish } from '../support/child-process.ts'
import { startMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'
import { certificateFolder } from './certificate-folder.ts'

async function socketFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'larder-socket-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

function start(path: string) {
  return startMirror({ upstream: 'http://127.0.0.1:9', config: { 'server.listen': `unix:${path}` } })
}

async function statusAt(socketPath: string): Promise<number | undefined> {
  const asked = request({ socketPath, path: '/v2/' }).end()
  const [response] = await once(asked, 'response')
  response.resume()
  return response.statusCode
}

/** Binds a socket in a process that is killed, so that it stays. */
async function leaveSocket(path: string): Promise<void> {
  const program = `require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`
  await assert.rejects(finish('node', ['--eval', program, path]))
}

test('a socket is made, and goes with the process', async (t) => {
  const path = join(await socketFolder(t), 'larder.sock')
  {
    await using _ = await start(path)
    assert.equal(await statusAt(path), 200)
  }
  await assert.rejects(lstat(path), { code: 'ENOENT' })
})

test('a socket of a process that was killed is replaced', async (t) => {
  const path = join(await socketFolder(t), 'larder.sock')
  await leaveSocket(path)
  assert.ok((await lstat(path)).isSocket())
  await using _ = await start(path)
  assert.equal(await statusAt(path), 200)
})

test("a running instance's socket stays its own: the second start is refused", async (t) => {
  const path = join(await socketFolder(t), 'larder.sock')
  await using _ = await start(path)
  await assert.rejects(start(path), {
    code: 'EADDRINUSE',
    message: /somebody listens at .*larder\.sock already/,
  })
  assert.equal(await statusAt(path), 200)
})

test('a program that does not take its connections is somebody, too', async (t) => {
  const path = join(await socketFolder(t), 'larder.sock')
  const busy = createServer().listen({ path, backlog: 1 })
  await once(busy, 'listening')
  t.after(() => busy.close())
  await assert.rejects(start(path), { code: 'EADDRINUSE' })
  assert.ok((await lstat(path)).isSocket())
})

test('whatever else lies there is left alone, and the start refused', async (t) => {
  const folder = await socketFolder(t)
  const at = (name: string) => join(folder, name)
  await writeFile(at('file'), 'precious')
  await writeFile(at('empty'), '')
  await mkdir(at('folder'))
  await symlink(at('file'), at('link'))
  await symlink(at('nothing'), at('dangling'))
  await leaveSocket(at('abandoned'))
  await symlink(at('abandoned'), at('link-to-socket'))
  for (const name of ['file', 'empty', 'folder', 'link', 'dangling', 'link-to-socket']) {
    const before = await lstat(at(name))
    await assert.rejects(start(at(name)), { code: 'EEXIST', message: /something else than a socket/ }, name)
    assert.equal((await lstat(at(name))).ino, before.ino, name)
  }
  assert.equal(await readFile(at('file'), 'utf8'), 'precious')
})

test('a folder that is missing is said by the system', async (t) => {
  await assert.rejects(start(join(await socketFolder(t), 'none', 'larder.sock')), { syscall: 'listen' })
})

test('a socket speaks plain HTTP where ports speak TLS, and TLS at it has its line', async (t) => {
  const path = join(await socketFolder(t), 'larder.sock')
  const { certificate, key } = await certificateFolder(t)
  await using mirror = await startMirror({
    upstream: 'http://127.0.0.1:9',
    config: {
      'server.listen': [`unix:${path}`, '127.0.0.1:0'],
      'server.tls.certificate': certificate,
      'server.tls.key': key,
    },
  })
  assert.equal(await statusAt(path), 200)
  const socket = connectTls({ path, rejectUnauthorized: false })
  await assert.rejects(once(socket, 'secureConnect'))
  await until(() => /a client speaks TLS to a Unix socket that speaks plain HTTP/.test(mirror.log()))
  const secure = connectTls({ port: mirror.port, host: '127.0.0.1', rejectUnauthorized: false })
  await once(secure, 'secureConnect')
  secure.destroy()
})
