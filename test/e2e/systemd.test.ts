/**
 * The unit of docs/operating.md. Neighbours: directives that this systemd does not know; a program that is not at its
 * place; system calls and kinds of sockets that the unit forbids and Node makes; no netlink, so that the machine's
 * addresses cannot be asked for.
 */
import assert from 'node:assert/strict'
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { ChildServer, finish, run } from '../support/child-process.ts'
import { meets } from '../support/programs.ts'
import { sourceEntry } from './support/larder-process.ts'
import { scratchFolder } from './support/scratch-folder.ts'

const unit = await readFile(resolve(import.meta.dirname, '../../docs/larder.service'), 'utf8')

function valuesOf(name: string): string[] {
  return [...unit.matchAll(new RegExp(`^${name}=(.*)$`, 'gm'))].map(([, value = '']) => value)
}

test('systemd takes every line of the unit, and calls it well protected', { timeout: 60_000 }, async (t) => {
  if (!meets(t, { programs: ['systemd-analyze'] })) return
  await using scratch = await scratchFolder()
  const program = join(scratch.path, 'bin/larder')
  await mkdir(join(scratch.path, 'bin'))
  await writeFile(program, '#!/bin/sh\n')
  await chmod(program, 0o755)
  const file = join(scratch.path, 'larder.service')
  await writeFile(file, unit.replaceAll('/opt/larder', scratch.path))
  // What this machine's own units are like is not for us to say.
  const { code, stderr } = await finish('systemd-analyze', ['verify', '--recursive-errors=no', file])
  const complaints = stderr.split('\n').filter((line) => line.includes('larder.service'))
  assert.deepEqual({ code, complaints }, { code: 0, complaints: [] })
  const security = await finish('systemd-analyze', ['security', '--offline=true', '--threshold=20', file])
  assert.equal(security.code, 0, security.stdout)
})

test('what the unit allows of the system is enough to start, to serve and to stop', {
  timeout: 60_000,
}, async (t) => {
  if (!meets(t, { programs: ['strace', 'systemd-analyze'] })) return
  await using scratch = await scratchFolder()
  const trace = join(scratch.path, 'trace')
  const parameters = [sourceEntry, '--listen', '127.0.0.1:0', '--data', join(scratch.path, 'data')]
  const server = ChildServer.start('node', parameters, {
    environment: { HOME: scratch.path, MIRROR_UPSTREAMS: '[{name: docker.io, url: "http://127.0.0.1:9"}]' },
    workingDirectory: scratch.path,
    by: [['strace', '-D', '-f', '-qq', '-o', trace]],
  })
  const listening = /listens +(http:\S+)\/v2\//
  await server.ready(() => listening.test(server.stderr), 'says where it listens')
  const [, url] = listening.exec(server.stderr) ?? []
  assert.equal((await fetch(`${url}/v2/library/app/manifests/latest`)).status, 503)
  assert.equal(await server.end('SIGTERM'), 0)
  const lines = (await readFile(trace, 'utf8')).split('\n')
  const calls = new Set(lines.map((line) => /^\d+ +([a-z]\w*)\(/.exec(line)?.[1] ?? 'execve'))
  const allowed = await allowedCalls()
  // SQLite does that for root alone, which the service is not.
  assert.deepEqual(
    [...calls].filter((call) => !allowed.has(call) && call !== 'fchown'),
    [],
  )
  const families = lines.flatMap((line) => /socket\((AF_\w+)/.exec(line)?.[1] ?? [])
  const allowedFamilies = valuesOf('RestrictAddressFamilies').join(' ').split(' ')
  assert.ok(families.includes('AF_NETLINK'), 'it asks which addresses there are')
  assert.deepEqual(
    families.filter((family) => !allowedFamilies.includes(family)),
    [],
  )
})

test('a service that may not ask for addresses serves all the same', { timeout: 60_000 }, async (t) => {
  if (!meets(t, { programs: ['strace'] })) return
  await using scratch = await scratchFolder()
  // The first address is that to listen on; the next one is netlink's.
  const server = ChildServer.start('node', [sourceEntry, '--listen', ':0', '--data', scratch.path], {
    environment: { HOME: scratch.path },
    workingDirectory: scratch.path,
    by: [
      [
        'strace',
        '-D',
        '-f',
        '-qq',
        '-o',
        '/dev/null',
        '-e',
        'trace=bind',
        '-e',
        'inject=bind:error=EAFNOSUPPORT:when=2+',
      ],
    ],
  })
  await server.ready(() => /listens +http/.test(server.stderr), 'says where it listens')
  assert.match(server.stderr, /No address of this machine|This is a container/)
  assert.equal(await server.end('SIGTERM'), 0)
})

/** The system calls of `SystemCallFilter`, its groups resolved. */
async function allowedCalls(): Promise<ReadonlySet<string>> {
  const groups = new Map<string, string[]>()
  let current: string[] = []
  for (const line of (await run('systemd-analyze', ['syscall-filter'])).split('\n')) {
    if (line.startsWith('@')) {
      current = []
      groups.set(line.trim(), current)
    } else if (/^ {4}[^#\s]/.test(line)) current.push(line.trim())
  }
  const resolved = (name: string): string[] =>
    name.startsWith('@') ? (groups.get(name) ?? []).flatMap(resolved) : [name]
  return new Set(
    valuesOf('SystemCallFilter')
      .flatMap((line) => line.split(' '))
      .flatMap(resolved),
  )
}
