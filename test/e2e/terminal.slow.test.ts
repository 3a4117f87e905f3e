/** Larder in a terminal whose owner has paused it (Ctrl-S, text that is marked, a connection that hangs). */
import assert from 'node:assert/strict'
import { closeSync, constants, existsSync, openSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { run, startInBackground } from '../support/child-process.ts'
import { freePort } from '../support/free-port.ts'
import { reasonToSkip } from '../support/programs.ts'
import { until } from '../support/settle.ts'

/** Lines of more bytes than what lies between holds: a terminal, `script` and a pipe. */
const requests = 1000

test('a terminal that is paused pauses nobody', {
  skip: reasonToSkip({ programs: ['script', 'mkfifo'] }),
}, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'larder-terminal-'))
  // Whoever shows what the terminal has to show takes nothing.
  const screen = join(folder, 'screen')
  await run('mkfifo', [screen])
  const output = openSync(screen, constants.O_RDWR | constants.O_NONBLOCK)
  const url = `http://127.0.0.1:${await freePort()}`
  const larder = `exec '${process.execPath}' '${join(import.meta.dirname, '../../src/main.ts')}' serve`
  const terminal = startInBackground('script', ['--quiet', '--command', larder, '/dev/null'], {
    output,
    environment: {
      MIRROR_SERVER_LISTEN: new URL(url).host,
      MIRROR_STORAGE_DIR: join(folder, 'data'),
      MIRROR_UPSTREAMS: '[{"name":"docker.io","url":"http://127.0.0.1:9"}]',
    },
  })
  t.after(async () => {
    terminal.kill('SIGKILL')
    closeSync(output)
    // Larder hears that its terminal is gone, and ends: until then it writes there.
    await until(() => !existsSync(join(folder, 'data', 'catalog.db-wal')))
    await rm(folder, { recursive: true, force: true, maxRetries: 3 })
  })
  const ask = async (path: string): Promise<number> => {
    const answer = await fetch(`${url}${path}`, { signal: AbortSignal.timeout(10_000) })
    await answer.arrayBuffer()
    return answer.status
  }
  await until(
    () =>
      ask('/healthz')
        .catch(() => 0)
        .then((status) => status === 200),
    { timeoutMs: 30_000 },
  )
  for (let request = 0; request < requests; request += 1) assert.equal(await ask('/v2/'), 200)
})
