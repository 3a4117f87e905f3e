/**
 * The users of a file that changes. Thought of: written anew, replaced by rename, by a symbolic link as Kubernetes does
 * it, twice within a tick of the clock with the same size and time, cut short, emptied, gone, a folder, not readable to
 * anybody, as one of another kind; users who are missing for a moment and for good; that each trouble is told once.
 */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm, stat, symlink, unlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { pino } from 'pino'
import { UsersFile } from '../../src/access/users-file.ts'
import { until } from '../support/settle.ts'

const hash = (cost: string) => `$2b$${cost}$bfyUt.vbGEken3o6kwXFDuXWI017Z/zIjtAtqR5ZJ2MYKkGw2u/8i`
const line = (name: string, cost = '10') => `${name}:${hash(cost)}\n`

async function opened(t: TestContext, text: string, settleMs = 50) {
  const folder = await mkdtemp(join(tmpdir(), 'larder-users-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const path = join(folder, 'htpasswd')
  await writeFile(path, text)
  const events: Record<string, unknown>[] = []
  const logger = pino({ level: 'info' }, { write: (event) => events.push(JSON.parse(event)) })
  const file = await UsersFile.open(path, { logger, checkMs: 5, settleMs })
  t.after(() => file[Symbol.asyncDispose]())
  const names = () => [...file.users.keys()].join(' ')
  return { folder, path, events, file, names }
}

const troubles = (events: readonly Record<string, unknown>[]) =>
  events.filter(({ msg }) => `${msg}`.includes('cannot be used')).map(({ reason }) => `${reason}`)

test('a user who is added is there with the next look, also by another file in its place', async (t) => {
  const { folder, path, file, names } = await opened(t, line('ann'))
  assert.equal(names(), 'ann')
  await writeFile(path, line('ann') + line('bob'))
  await file.refresh()
  assert.equal(names(), 'ann bob')
  const other = join(folder, 'other')
  await writeFile(other, line('ann') + line('bob') + line('cid'))
  await rename(other, path)
  await file.refresh()
  assert.equal(names(), 'ann bob cid')
  file.start()
  await writeFile(path, line('ann') + line('bob') + line('cid') + line('dan'))
  await until(() => names() === 'ann bob cid dan')
})

test('a link that is turned to another folder, as Kubernetes does it', async (t) => {
  const { folder, events } = await opened(t, '')
  for (const [version, text] of [
    ['1', line('ann')],
    ['2', line('ann') + line('bob')],
  ] as const) {
    await mkdir(join(folder, version))
    await writeFile(join(folder, version, 'users'), text)
  }
  await symlink('1', join(folder, 'data'))
  await symlink('data/users', join(folder, 'users'))
  const logger = pino({ level: 'info' }, { write: (event) => events.push(JSON.parse(event)) })
  await using file = await UsersFile.open(join(folder, 'users'), { logger })
  assert.equal(file.users.size, 1)
  await symlink('2', join(folder, 'data_new'))
  await rename(join(folder, 'data_new'), join(folder, 'data'))
  await file.refresh()
  assert.equal(file.users.size, 2)
})

test('two writes within a tick of the clock, with the same size, are two', async (t) => {
  const { path, file } = await opened(t, line('ann', '10'))
  for (let n = 0; n < 200; n += 1) {
    const cost = n % 2 === 0 ? '11' : '12'
    writeFileSync(path, line('ann', cost))
    await file.refresh()
    assert.equal(file.users.get('ann'), hash(cost), `write ${n}`)
  }
})

test('a change that leaves size and time as they were, long after the last one', async (t) => {
  const { path, file } = await opened(t, line('ann', '10'))
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 3_600_000 })
  for (const cost of ['11', '12', '05']) {
    const { ctimeMs } = await stat(path)
    await until(async () => {
      await writeFile(path, line('ann', cost))
      await utimes(path, 1_700_000_000, 1_700_000_000)
      return (await stat(path)).ctimeMs !== ctimeMs
    })
    await file.refresh()
    assert.equal(file.users.get('ann'), hash(cost))
  }
})

test('what cannot be used leaves the users as they are, and is told once', async (t) => {
  const { path, file, names, events } = await opened(t, line('ann') + line('bob'))
  const spoil: readonly (readonly [() => Promise<void>, RegExp])[] = [
    [() => writeFile(path, line('ann') + line('bob').slice(0, 30)), /line 2 \(bob\).*cut short/],
    [() => writeFile(path, 'ann:secret\nbob:secret\n'), /line 1 \(ann\).*no bcrypt hash/],
    [() => writeFile(path, Buffer.alloc(2 * 1024 * 1024, '#')), /larger than/],
    [() => unlink(path), /no such file/],
    [() => mkdir(path).then(() => {}), /no regular file/],
  ]
  for (const [index, [breaks, reason]] of spoil.entries()) {
    await breaks()
    for (let look = 0; look < 5; look += 1) await file.refresh()
    assert.equal(names(), 'ann bob')
    assert.equal(troubles(events).length, index + 1)
    assert.match(troubles(events).at(-1) ?? '', reason)
    assert.ok(!troubles(events).some((told) => told.includes('secret')))
  }
  await rm(path, { recursive: true })
  await writeFile(path, line('ann') + line('bob') + line('cid'))
  await file.refresh()
  assert.equal(names(), 'ann bob cid')
  await rm(path)
  await mkdir(path)
  await file.refresh()
  assert.equal(troubles(events).length, spoil.length + 1, 'told again once it was mended')
})

test('users who are missing: not believed of a file that is being written, and after a while they are gone', async (t) => {
  const { path, file, names } = await opened(t, line('ann') + line('bob'), 60_000)
  for (const torn of [line('ann'), `# nobody\n${line('bob')}`, line('cid')]) {
    await writeFile(path, torn)
    for (let look = 0; look < 3; look += 1) await file.refresh()
    assert.equal(names(), 'ann bob', JSON.stringify(torn))
  }
  const settled = await opened(t, line('ann') + line('bob'), 20)
  settled.file.start()
  await writeFile(settled.path, line('bob'))
  await until(() => settled.names() === 'bob')
})

test('a file that holds nobody any more is damaged, for good', async (t) => {
  const { path, file, names, events } = await opened(t, line('ann') + line('bob'), 0)
  for (const empty of ['', '# nobody\n', '\uFEFF', '\n\n', `#${line('ann')}`]) {
    await writeFile(path, empty)
    for (let look = 0; look < 5; look += 1) await file.refresh()
    assert.equal(names(), 'ann bob', JSON.stringify(empty))
  }
  assert.deepEqual(troubles(events), ['it holds no user any more (a restart takes it as it is)'])
  await writeFile(path, line('cid'))
  await until(async () => {
    await file.refresh()
    return names() === 'cid'
  })
  const none = await opened(t, '# nobody yet\n')
  await writeFile(none.path, '')
  await none.file.refresh()
  assert.deepEqual(troubles(none.events), [])
  assert.ok(none.events.some(({ msg }) => msg === 'the file of users holds nobody: nobody can log in'))
  await writeFile(none.path, line('ann'))
  await none.file.refresh()
  assert.equal(none.names(), 'ann')
})

test('a file that is none is not opened', async (t) => {
  const { folder, path, events } = await opened(t, line('ann'))
  const logger = pino({ level: 'info' }, { write: (event) => events.push(JSON.parse(event)) })
  const open = (name: string) => UsersFile.open(name, { logger })
  await assert.rejects(open(join(folder, 'none')), /auth\.htpasswd: .*none: cannot be read: no such file/)
  await assert.rejects(open(folder), /auth\.htpasswd: .*(?:no regular file|folder)/)
  await writeFile(path, 'ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=')
  await assert.rejects(open(path), /line 1 \(ann\) has a SHA-1 hash/)
})
