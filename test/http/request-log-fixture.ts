import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { type DockerHub, startDockerHub } from '../support/docker-hub.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'

export const mebibyte = 1024 * 1024

type Stage = { hub: DockerHub; mirror: TestMirror } & AsyncDisposable

/** A registry and a mirror of it. */
export async function start(): Promise<Stage> {
  await using all = new AsyncDisposableStack()
  const hub = all.use(await startDockerHub())
  const mirror = all.use(await startMirror({ upstream: hub.url }))
  const owned = all.move()
  return { hub, mirror, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

/** Waits until so many requests are in the log, and returns their lines. */
export async function requests(
  mirror: TestMirror,
  count: number,
): Promise<readonly Record<string, unknown>[]> {
  await until(() => mirror.events('request').length >= count, { what: `${count} requests in the log` })
  const lines = mirror.events('request')
  assert.equal(lines.length, count, mirror.log())
  return lines
}

/** Whether a line of the log is a warning or worse. */
export function isLoud({ level }: Record<string, unknown>): boolean {
  return level !== 'info' && level !== 'debug'
}

/** The text of a request. */
export function get(path: string, headers = ''): string {
  return `GET ${path} HTTP/1.1\r\nHost: a\r\nUser-Agent: tester/1.0\r\n${headers}\r\n`
}

/** A connection that does not mind being reset. */
export async function connected(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}
