/**
 * What a crash of the machine, or a full disk, may leave of a lock. Thought of: cut at every size, blocks of zeros or of
 * another file in it, a journal of SQLite's beside it (whole, cut, of another lock, garbage), a name in it of a process
 * that is long gone, or of nobody. In each case the next one gets the folder, is named, and keeps the others away.
 */
import assert from 'node:assert/strict'
import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { lockDirectory } from '../../../src/storage/files/directory-lock.ts'
import { storageFolder, testBytes } from './storage-folder.ts'

async function lockOf(folder: string): Promise<Buffer> {
  using _ = await lockDirectory(folder)
  return readFile(join(folder, 'lock'))
}

/** The next one gets it, and is named to whoever comes after. */
async function assertTakenOver(folder: string, what: string): Promise<void> {
  using _lock = await lockDirectory(folder).catch((error: unknown) => assert.fail(`${what}: ${error}`))
  await assert.rejects(lockDirectory(folder), (error: NodeJS.ErrnoException) => {
    assert.equal(error.code, 'LOCKED', what)
    assert.ok(error.message.includes(`process ${process.pid} on ${hostname()}`), `${what}: ${error.message}`)
    return true
  })
}

const blockSize = 512

test('a lock that is cut at any size', async (t) => {
  const folder = await storageFolder(t)
  const whole = await lockOf(folder)
  const sizes = [0, 1, 15, 16, 99, 100, 101, 1023, 4095, 4096, 4097, whole.length - 1]
  for (const size of sizes) {
    await writeFile(join(folder, 'lock'), whole.subarray(0, size))
    await assertTakenOver(folder, `${size} bytes of ${whole.length}`)
  }
})

for (const [what, fill] of Object.entries({
  zeros: () => Buffer.alloc(blockSize),
  'another file': (n: number) => testBytes(blockSize, n),
})) {
  test(`a lock with ${what} in the place of each of its blocks`, async (t) => {
    const folder = await storageFolder(t)
    const whole = await lockOf(folder)
    for (let at = 0; at < whole.length; at += blockSize) {
      const torn = Buffer.from(whole)
      fill(at).copy(torn, at)
      await writeFile(join(folder, 'lock'), torn)
      await assertTakenOver(folder, `at ${at}`)
    }
  })
}

/** A lock in the middle of naming its holder, with the journal that would take that back. */
async function midway(t: TestContext): Promise<{ lock: Buffer; journal: Buffer }> {
  const folder = await storageFolder(t)
  await lockOf(folder)
  const path = join(folder, 'lock')
  const database = new DatabaseSync(path)
  // So that the change is in the file before it is committed.
  database.exec(
    "PRAGMA cache_size = 1; BEGIN IMMEDIATE; DELETE FROM holder; INSERT INTO holder VALUES ('process 1 on nobody')",
  )
  for (let n = 0; n < 100; n += 1) database.prepare('INSERT INTO holder VALUES (?)').run('x'.repeat(2000))
  await copyFile(path, join(folder, 'copy'))
  await copyFile(`${path}-journal`, join(folder, 'copy-journal'))
  database.close()
  return { lock: await readFile(join(folder, 'copy')), journal: await readFile(join(folder, 'copy-journal')) }
}

test('a journal beside it: whole, cut at any size, or garbage', async (t) => {
  const { lock, journal } = await midway(t)
  const folder = await storageFolder(t)
  const older = await lockOf(await storageFolder(t))
  const cuts = [0, 1, 27, 28, 512, 513, journal.length - 1, journal.length]
  const journals = [...cuts.map((size) => journal.subarray(0, size)), testBytes(4096, 7)]
  for (const [number, one] of journals.entries()) {
    for (const [what, file] of Object.entries({
      'its own': lock,
      'an older': older,
      'an empty': Buffer.alloc(0),
    })) {
      await writeFile(join(folder, 'lock'), file)
      await writeFile(join(folder, 'lock-journal'), one)
      await assertTakenOver(folder, `journal ${number} beside ${what} lock`)
    }
  }
})
