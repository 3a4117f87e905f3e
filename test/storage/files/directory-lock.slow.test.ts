import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmod, rename, rm, stat, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { lockDirectory } from '../../../src/storage/files/directory-lock.ts'
import { sourceEntry, startLarder } from '../../e2e/support/larder-process.ts'
import { type ForkedNode, finish, forkNode } from '../../support/child-process.ts'
import { startMirror } from '../../support/mirror.ts'
import { meets } from '../../support/programs.ts'
import { until } from '../../support/settle.ts'
import { storageFolder } from './storage-folder.ts'

/** A process that has tried to lock the folder, and what it said. */
async function lockInChild(t: TestContext, folder: string): Promise<{ child: ForkedNode; said: string }> {
  const child = forkNode(new URL('./lock-child.ts', import.meta.url), [folder])
  t.after(() => child.kill('SIGKILL'))
  const [said] = await once(child, 'message')
  return { child, said: String(said) }
}

async function lockedMessage(folder: string): Promise<string> {
  try {
    using _lock = await lockDirectory(folder)
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'LOCKED')
    return String(error)
  }
  assert.fail('it was locked twice')
}

test('a second lock in this process throws LOCKED and names the holder and the folder', async (t) => {
  const folder = await storageFolder(t)
  using _lock = await lockDirectory(folder)
  const message = await lockedMessage(folder)
  assert.ok(message.includes(`process ${process.pid} on ${hostname()}`), message)
  assert.ok(message.includes(folder), message)
})

test('a failed attempt does not loosen the lock', async (t) => {
  const folder = await storageFolder(t)
  using _lock = await lockDirectory(folder)
  for (let attempt = 0; attempt < 3; attempt += 1) await lockedMessage(folder)
  const { said } = await lockInChild(t, folder)
  assert.equal(said, 'LOCKED')
})

test('a lock of another process throws LOCKED and names that process', async (t) => {
  const folder = await storageFolder(t)
  const { child, said } = await lockInChild(t, folder)
  assert.equal(said, 'locked')
  assert.ok((await lockedMessage(folder)).includes(`process ${child.pid} on ${hostname()}`))
})

test('disposal lets go, also for another process', async (t) => {
  const folder = await storageFolder(t)
  for (let round = 0; round < 3; round += 1) {
    using _lock = await lockDirectory(folder)
  }
  const { child, said } = await lockInChild(t, folder)
  assert.equal(said, 'locked')
  child.send('let go')
  await once(child, 'exit')
  using _lock = await lockDirectory(folder)
})

test('SIGKILL of the holder lets go at once, and the next one is named from then on', async (t) => {
  const folder = await storageFolder(t)
  const { child } = await lockInChild(t, folder)
  child.kill('SIGKILL')
  await once(child, 'exit')
  using _lock = await lockDirectory(folder)
  assert.ok((await lockedMessage(folder)).includes(`process ${process.pid} `))
})

test('containers: who has the folder in other namespaces of processes and hosts keeps it, is named, and is gone with SIGKILL', async (t) => {
  if (!meets(t, { programs: ['unshare'], root: true })) return
  const folder = await storageFolder(t)
  // Each is process 1 of its own, on a host of its own; the one who asks sees neither.
  const container = [
    ['unshare', '--pid', '--fork', '--kill-child', '--uts', '--ipc', '--mount-proc'],
  ] as const
  await using holder = await startLarder({ directory: folder, by: container })
  const refusal = new RegExp(`${folder} is in use by process 1 on `)
  assert.match(await lockedMessage(folder), refusal)
  const fromContainer = await finish('node', [sourceEntry, 'serve', '--data', folder], {
    by: container,
    environment: { MIRROR_SERVER_LISTEN: '127.0.0.1:0' },
  })
  assert.equal(fromContainer.code, 11)
  assert.match(fromContainer.stderr, refusal)
  await holder.kill()
  await until(
    async () =>
      (await lockDirectory(folder).then(
        (lock) => lock[Symbol.dispose](),
        (error) => error,
      )) === undefined,
  )
  // And the other way: a process of the host keeps a container away, whatever its own number is.
  using _lock = await lockDirectory(folder)
  const late = await finish('node', [sourceEntry, 'serve', '--data', folder], { by: container })
  assert.equal(late.code, 11)
  assert.match(late.stderr, new RegExp(`in use by process ${process.pid} on ${hostname()}`))
})

test('several processes that start at once: one gets it, the others are told LOCKED', async (t) => {
  const folder = await storageFolder(t)
  for (let round = 0; round < 3; round += 1) {
    const all = await Promise.all(Array.from({ length: 4 }, () => lockInChild(t, folder)))
    assert.deepEqual(all.map(({ said }) => said).toSorted(), ['LOCKED', 'LOCKED', 'LOCKED', 'locked'])
    await Promise.all(
      all.map(async ({ child, said }) => {
        if (said !== 'locked') return
        child.send('let go')
        await once(child, 'exit')
      }),
    )
  }
})

test('whoever reads the name of the holder at that moment keeps nobody from the lock', async (t) => {
  const folder = await storageFolder(t)
  ;(await lockDirectory(folder))[Symbol.dispose]()
  const worker = new Worker(new URL('./lock-reader.ts', import.meta.url), {
    workerData: { path: join(folder, 'lock') },
  })
  t.after(() => worker.terminate())
  const exited = once(worker, 'exit')
  await once(worker, 'message')
  using _lock = await lockDirectory(folder)
  await exited
})

test('two folders do not matter to each other; one that is missing is made', async (t) => {
  const folder = await storageFolder(t)
  using _one = await lockDirectory(join(folder, 'one'))
  using _two = await lockDirectory(join(folder, 'a/b/two'))
})

test('a folder that may not be written to is not reported as LOCKED', async (t) => {
  const folder = await storageFolder(t)
  await chmod(folder, 0o555)
  // Root may write everywhere: it becomes somebody else for this one call.
  const isRoot = process.getuid?.() === 0
  if (isRoot) process.seteuid?.(65_534)
  try {
    await assert.rejects(lockDirectory(folder), (error: NodeJS.ErrnoException) => error.code !== 'LOCKED')
    await assert.rejects(lockDirectory(join(folder, 'below')), { code: 'EACCES' })
  } finally {
    if (isRoot) process.seteuid?.(0)
    await chmod(folder, 0o755)
  }
})

test('a damaged lock holds nothing and is replaced, and then holds', async (t) => {
  const folder = await storageFolder(t)
  await writeFile(join(folder, 'lock'), 'not a lock, but long enough for one'.repeat(100))
  using _ = await lockDirectory(folder)
  await assert.rejects(lockDirectory(folder), { code: 'LOCKED' })
})

/** What keeps another mirror from the folder; undefined where nothing does. */
async function startsSecond(folder: string): Promise<string | undefined> {
  try {
    await using _second = await startMirror({ directory: folder })
    return undefined
  } catch (error) {
    return (error as NodeJS.ErrnoException).code
  }
}

const underItsFeet: Record<string, (path: string) => Promise<void>> = {
  removed: (path) => rm(path),
  replaced: async (path) => {
    await writeFile(`${path}.x`, '')
    await rename(`${path}.x`, path)
  },
  'overwritten with zeros': (path) => writeFile(path, Buffer.alloc(8192)),
}

for (const [what, doIt] of Object.entries(underItsFeet)) {
  test(`the lock is ${what} while it is held: nobody else gets the folder, before and after it is noticed`, async (t) => {
    const folder = await storageFolder(t)
    {
      await using mirror = await startMirror({ directory: folder })
      for (let round = 0; round < 2; round += 1) {
        await doIt(join(folder, 'lock'))
        assert.equal(await startsSecond(folder), 'LOCKED')
        assert.equal((await fetch(`${mirror.url}/readyz`)).status, 200)
        const { child, said } = await lockInChild(t, folder)
        assert.equal(said, 'LOCKED')
        child.kill('SIGKILL')
      }
    }
    await using _next = await startMirror({ directory: folder })
  })
}

test('lock and catalog are removed, and another one has the folder: the first says so, and leaves what is there alone', async (t) => {
  const folder = await storageFolder(t)
  const first = await startMirror({ directory: folder })
  for (const name of ['lock', 'catalog.db', 'catalog.db-wal', 'catalog.db-shm']) await rm(join(folder, name))
  await using second = await startMirror({ directory: folder })
  const { ino } = await stat(join(folder, 'catalog.db'))
  assert.equal((await fetch(`${first.url}/readyz`)).status, 503)
  await assert.rejects(async () => first[Symbol.asyncDispose](), { code: 'BROKEN' })
  assert.equal((await stat(join(folder, 'catalog.db'))).ino, ino)
  assert.equal((await fetch(`${second.url}/readyz`)).status, 200)
})
