/**
 * The start tells what it found at each upstream, one line each, without keeping anybody waiting. Thought of: a
 * registry, its address with /v2/, a page, an error, nothing at all, a wrong password, an address without a registry.
 */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { serve } from '../../src/cli/serve.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { until } from '../support/settle.ts'

type Line = {
  readonly level: number | string
  readonly msg: string
  readonly upstream?: string
  readonly reason?: string
}

class Collector extends Writable {
  text = ''

  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    this.text += chunk.toString()
    callback()
  }
}

async function listen(t: TestContext, handler: RequestListener): Promise<string> {
  const server = createServer(handler)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

test('one line for each upstream says what was found', async (t) => {
  await using hub = await startDockerHub({ accounts: { ann: 'right' } })
  const dead = await startDockerHub()
  await dead.stop()
  const page: RequestListener = (_, response) => response.setHeader('content-type', 'text/html').end('<html>')
  const status = (code: number) => listen(t, (_, response) => response.writeHead(code).end())
  const upstreams = [
    { name: 'a.test', url: hub.url },
    { name: 'b.test', url: `${hub.url}/v2/` },
    { name: 'c.test', url: hub.url, username: 'ann', password: 'wrong' },
    { name: 'd.test', url: await listen(t, page) },
    { name: 'e.test', url: await status(500) },
    { name: 'f.test', url: await status(404) },
    { name: 'g.test', url: dead.url },
  ]
  const directory = await mkdtemp(join(tmpdir(), 'larder-start-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const [stdout, stderr, stop] = [new Collector(), new Collector(), new AbortController()]
  const environment = {
    MIRROR_LOG_FORMAT: 'json',
    MIRROR_SERVER_LISTEN: '127.0.0.1:0',
    MIRROR_STORAGE_DIR: join(directory, 'data'),
    MIRROR_UPSTREAMS: JSON.stringify(upstreams),
  }
  t.after(() => stop.abort())
  const ended = serve(
    { arguments: [], stdout, stderr, environment, workingDirectory: directory, stop: stop.signal },
    { version: '0.0.0' },
  )
  const lines = (): Line[] =>
    stdout.text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line))
  const found = (): Line[] => lines().filter(({ msg }) => msg.startsWith('upstream '))
  await until(() => found().length >= upstreams.length, { timeoutMs: 20_000 })
  const expected: Record<string, RegExp> = {
    'a.test': /^upstream answers$/,
    'b.test': /^upstream answers$/,
    'c.test': /^upstream answers, and refuses the configured user name and password, going on anonymously$/,
    'd.test': /^upstream is not what answers: .* answered with a web page/,
    'e.test': /^upstream is ill: it answered \/v2\/ with 500/,
    'f.test': /^upstream has no registry at http/,
    'g.test': /^upstream cannot be reached: serving what is cached$/,
  }
  assert.deepEqual(
    found()
      .map(({ upstream }) => upstream)
      .sort(),
    Object.keys(expected),
  )
  for (const { upstream = '', msg } of found()) assert.match(msg, expected[upstream] ?? /^$/)
  assert.match(found().find(({ upstream }) => upstream === 'g.test')?.reason ?? '', /ECONNREFUSED/)
  assert.equal(
    lines().filter(({ msg }) => msg.includes('refuses the configured user name and password (')).length,
    1,
  )
  assert.ok(!stdout.text.includes('"wrong"'))
  stop.abort()
  await ended
})
