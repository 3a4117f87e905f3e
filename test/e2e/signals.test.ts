/** Ctrl-C, a terminal that is closed and rotated logs, as they come from a real terminal, npm and the system. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { closeSync, constants, existsSync, openSync, writeSync } from 'node:fs'
import { readFile, truncate } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { type TestContext, test } from 'node:test'
import { run, startInBackground } from '../support/child-process.ts'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { freePort } from '../support/free-port.ts'
import { pseudoRandomBytes } from '../support/images.ts'
import { reasonToSkip } from '../support/programs.ts'
import { until } from '../support/settle.ts'
import { sourceEntry } from './support/larder-process.ts'
import { scratchFolder } from './support/scratch-folder.ts'

const project = resolve(import.meta.dirname, '../..')
const direct = `exec '${process.execPath}' '${sourceEntry}' serve`

/** A file of the system, closed with the test. */
function opened(t: TestContext, path: string, flags: number): number {
  const descriptor = openSync(path, flags)
  t.after(() => closeSync(descriptor))
  return descriptor
}

/** Larder in a terminal of its own, by a command of the shell. */
async function startInTerminal(t: TestContext, { command, folder, upstream }: Record<string, string>) {
  const [keyboard, screen] = [join(`${folder}`, 'keyboard'), join(`${folder}`, 'screen')]
  await run('mkfifo', [keyboard])
  const keys = opened(t, keyboard, constants.O_RDWR)
  const host = `127.0.0.1:${await freePort()}`
  const data = join(`${folder}`, 'data')
  const terminal = startInBackground(
    'script',
    ['--quiet', '--return', '--command', `${command}`, '/dev/null'],
    {
      input: keys,
      output: opened(t, screen, constants.O_CREAT | constants.O_WRONLY | constants.O_APPEND),
      beside: ['npm'],
      workingDirectory: project,
      environment: {
        HOME: `${folder}`,
        npm_config_update_notifier: 'false',
        MIRROR_SERVER_LISTEN: host,
        MIRROR_STORAGE_DIR: data,
        MIRROR_UPSTREAMS: JSON.stringify([{ name: 'docker.io', url: upstream }]),
      },
    },
  )
  t.after(() => terminal.kill('SIGKILL'))
  const output = () => readFile(screen, 'utf8')
  await until(async () => /listens +http/.test(await output()), { timeoutMs: 30_000 })
  await until(() =>
    fetch(`http://${host}/readyz`).then(
      ({ status }) => status === 200,
      () => false,
    ),
  )
  return {
    url: `http://${host}`,
    output,
    ended: once(terminal, 'exit'),
    hasJournal: () => existsSync(join(data, 'catalog.db-wal')),
    interrupt: () => writeSync(keys, '\u0003'),
    close: () => terminal.kill('SIGKILL'),
  }
}

for (const command of ['npm start', direct]) {
  const name = command === direct ? 'larder serve' : command
  test(`one Ctrl-C on ${name}: what is under way is finished`, {
    skip: reasonToSkip({ programs: ['script', 'mkfifo', 'npm'] }),
    timeout: 60_000,
  }, async (t) => {
    await using scratch = await scratchFolder()
    await using hub = await startDockerHub()
    const blob = hub.addBlob('library/app', pseudoRandomBytes(1_000_000, 'interrupted'))
    const larder = await startInTerminal(t, { command, folder: scratch.path, upstream: hub.url })
    using hold = hub.hold({ listener: 'cdn', digest: blob.digest }, 500_000)
    const pulling = pull(`${larder.url}/v2/library/app/blobs/${blob.digest}`)
    pulling.catch(() => {})
    await hold.reached
    larder.interrupt()
    await until(async () => /stopping: 1 request under way/.test(await larder.output()))
    hold.release()
    assert.equal((await pulling).digest, blob.digest)
    const [code] = await larder.ended
    // npm has a code of its own for Ctrl-C.
    if (command === direct) assert.equal(code, 0)
    assert.match(await larder.output(), /stopped/)
    assert.equal(larder.hasJournal(), false)
  })
}

test('a terminal that is closed: it stops in good order', {
  skip: reasonToSkip({ programs: ['script', 'mkfifo'] }),
  timeout: 60_000,
}, async (t) => {
  await using scratch = await scratchFolder()
  await using hub = await startDockerHub()
  const larder = await startInTerminal(t, { command: direct, folder: scratch.path, upstream: hub.url })
  assert.equal(larder.hasJournal(), true)
  larder.close()
  await until(() => !larder.hasJournal(), { timeoutMs: 10_000 })
})

test('a log that is rotated: SIGHUP and SIGUSR1 change nothing, and a file that is cut goes on at its beginning', {
  timeout: 60_000,
}, async (t) => {
  await using scratch = await scratchFolder()
  const log = join(scratch.path, 'larder.log')
  const host = `127.0.0.1:${await freePort()}`
  const larder = startInBackground('node', [sourceEntry, 'serve'], {
    output: opened(t, log, constants.O_CREAT | constants.O_WRONLY | constants.O_APPEND),
    environment: {
      HOME: scratch.path,
      MIRROR_SERVER_LISTEN: host,
      MIRROR_STORAGE_DIR: join(scratch.path, 'data'),
      MIRROR_UPSTREAMS: '[{"name":"docker.io","url":"http://127.0.0.1:9"}]',
    },
  })
  t.after(() => larder.kill('SIGKILL'))
  const ended = once(larder, 'exit')
  const ask = () =>
    fetch(`http://${host}/v2/`).then(
      ({ status }) => status,
      () => 0,
    )
  await until(async () => (await ask()) === 200, { timeoutMs: 30_000 })
  await until(async () => /request/.test(await readFile(log, 'utf8')))
  await truncate(log)
  larder.kill('SIGHUP')
  larder.kill('SIGUSR1')
  assert.equal((await fetch(`http://${host}/v2/`)).status, 200)
  await until(async () => /request/.test(await readFile(log, 'utf8')))
  const text = await readFile(log, 'utf8')
  assert.doesNotMatch(text, /\0|Debugger/)
  larder.kill('SIGTERM')
  assert.deepEqual(await ended, [0, null])
})
