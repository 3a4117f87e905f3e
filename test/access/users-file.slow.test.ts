/** A file of users whose place a pipe takes: to open it would wait for whoever writes. */
import assert from 'node:assert/strict'
import { mkdtemp, rm, unlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pino } from 'pino'
import { UsersFile } from '../../src/access/users-file.ts'
import { run } from '../support/child-process.ts'
import { userLine } from '../support/users.ts'

test('a pipe leaves the users as they are, and holds up neither a login nor the stop', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'larder-users-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const path = join(folder, 'htpasswd')
  await writeFile(path, userLine('ann', 'secret'))
  const events: Record<string, unknown>[] = []
  const logger = pino({ level: 'info' }, { write: (event) => events.push(JSON.parse(event)) })
  await using file = await UsersFile.open(path, { logger })
  await unlink(path)
  await run('mkfifo', [path])
  await file.refresh()
  assert.deepEqual([...file.users.keys()], ['ann'])
  assert.deepEqual(
    events.map(({ reason }) => reason),
    ['this is no regular file'],
  )
})
