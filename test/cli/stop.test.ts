/**
 * A stop says what it waits for, and when it is over. Thought of: nothing under way; a transfer that finishes in
 * time; one that is cut; a download without a client; a start that fails, which never says "stopped".
 */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { serve } from '../../src/cli/serve.ts'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { pseudoRandomBytes } from '../support/images.ts'
import { until } from '../support/settle.ts'

/** As a pipe whose reader has other things to do. */
class Collector extends Writable {
  text = ''

  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    setImmediate(() => {
      this.text += chunk.toString()
      callback()
    })
  }
}

/** `larder serve` in this process. */
async function startServe(t: TestContext, upstream: string, environment: Record<string, string> = {}) {
  const directory = await mkdtemp(join(tmpdir(), 'larder-stop-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const [stdout, stderr, stop] = [new Collector(), new Collector(), new AbortController()]
  const ended = serve(
    {
      arguments: [],
      stdout,
      stderr,
      environment: {
        MIRROR_LOG_FORMAT: 'json',
        MIRROR_SERVER_LISTEN: '127.0.0.1:0',
        MIRROR_STORAGE_DIR: join(directory, 'data'),
        MIRROR_UPSTREAMS: JSON.stringify([{ name: 'docker.io', url: upstream }]),
        ...environment,
      },
      workingDirectory: directory,
      stop: stop.signal,
    },
    { version: 'test' },
  )
  ended.catch(() => {})
  const listening = /listens +http:\/\/\S+:(\d+)\/v2\//
  const events = () =>
    stdout.text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
  const ready = async (): Promise<string> => {
    await until(() => listening.test(stderr.text), { timeoutMs: 10_000 })
    return `http://127.0.0.1:${listening.exec(stderr.text)?.[1]}`
  }
  return { ended, stop: () => stop.abort(), events, ready }
}

function stopping(events: readonly Record<string, unknown>[]): Record<string, unknown> | undefined {
  return events.find(({ msg }) => String(msg).startsWith('stopping'))
}

test('a stop with nothing under way says so, and the last line is "stopped"', async (t) => {
  await using hub = await startDockerHub()
  const server = await startServe(t, hub.url)
  await server.ready()
  server.stop()
  await server.ended
  const line = stopping(server.events())
  assert.deepEqual([line?.requests, line?.fills, line?.level], [0, 0, 'info'])
  assert.match(String(line?.msg), /no request is under way$/)
  const last = server.events().at(-1)
  assert.deepEqual([last?.msg, typeof last?.ms], ['stopped', 'number'])
})

test('a stop tells how many requests it waits for and which downloads are not whole; "stopped" comes after them', async (t) => {
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(1_000_000, 'waits'))
  const server = await startServe(t, hub.url)
  const url = `${await server.ready()}/v2/library/app/blobs/${blob.digest}`
  using hold = hub.hold({ listener: 'cdn', digest: blob.digest }, 500_000)
  const pulling = [pull(url), pull(url)]
  await hold.reached
  await until(() => hub.count({ listener: 'cdn' }) === 1)
  server.stop()
  await until(() => stopping(server.events()) !== undefined)
  const line = stopping(server.events())
  assert.deepEqual([line?.requests, line?.fills], [2, 1])
  assert.match(String(line?.msg), /^stopping: 2 requests under way: up to 30 s .*; 1 download not whole/)
  hold.release()
  for (const { isComplete } of await Promise.all(pulling)) assert.equal(isComplete, true)
  await server.ended
  const messages = server.events().map(({ msg }) => msg)
  assert.equal(messages.at(-1), 'stopped')
  assert.equal(messages.filter((message) => message === 'request').length, 2)
})

test('a stop that cuts what does not finish: the line of the transfer comes before "stopped"', async (t) => {
  await using hub = await startDockerHub()
  const blob = hub.addBlob('library/app', pseudoRandomBytes(1_000_000, 'cut'))
  const server = await startServe(t, hub.url, { MIRROR_SERVER_SHUTDOWN_GRACE: '0s' })
  const url = `${await server.ready()}/v2/library/app/blobs/${blob.digest}`
  using _hold = hub.hold({ listener: 'cdn', digest: blob.digest }, 500_000)
  const begun = Promise.withResolvers<void>()
  const pulling = pull(url, { onBytes: () => begun.resolve() })
  await begun.promise
  server.stop()
  await server.ended
  assert.equal((await pulling).isComplete, false)
  const ends = server.events().filter(({ msg }) => msg === 'request' || msg === 'stopped')
  assert.deepEqual(
    ends.map(({ msg, ended }) => [msg, ended]),
    [
      ['request', 'broken'],
      ['stopped', undefined],
    ],
  )
})

test('a start that fails never says "stopped"', async (t) => {
  const server = await startServe(t, 'http://127.0.0.1:9', { MIRROR_STORAGE_DIR: '/proc/nothing' })
  await assert.rejects(server.ended)
  assert.deepEqual(server.events(), [])
})
