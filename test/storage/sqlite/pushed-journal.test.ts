// What was pushed outlives the catalog. Thought of: the catalog deleted, an older one put back, before and behind the
// point at which the journal was written anew; the journal cut at every byte, with flipped bytes, of another catalog,
// removed, replaced, in the way; a disk that does not take it; a catalog of which pages are damaged.
import assert from 'node:assert/strict'
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  existsSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Digest } from '../../../src/oci/digest.ts'
import { MemoryCatalog } from '../../../src/storage/memory/memory-catalog.ts'
import type { RepositoryKey } from '../../../src/storage/repository-key.ts'
import { FaultyDisk } from '../../support/faulty-disk.ts'
import { until } from '../../support/settle.ts'
import { storageFolder } from '../files/storage-folder.ts'

import { begun, known, Life, layers, pushedIn, pushes, repositories, step, take } from './pushed-life.ts'

for (const [what, isOlder] of [
  ['deleted', false],
  ['replaced by an older one', true],
] as const) {
  test(`the catalog is ${what}: all that was pushed is there, and nothing that was deleted`, async (t) => {
    const steps = fc.array(step, { minLength: 1, maxLength: 30 })
    await fc.assert(
      fc.asyncProperty(steps, fc.nat(), fc.nat(), async (steps, cut, anew) => {
        const folder = await storageFolder(t)
        const older = join(folder, 'older.db')
        const expected = new MemoryCatalog()
        const stops = [cut % steps.length, anew % steps.length]
        let life = begun(folder)
        for (const [n, one] of steps.entries()) {
          if (n === stops[1]) {
            await rm(join(folder, 'pushed.journal'), { force: true })
            life.copyTo(join(folder, 'now.db'))
            life[Symbol.dispose]()
            life = begun(folder, join(folder, 'now.db'))
          }
          if (n === stops[0]) life.copyTo(older)
          await take(life.reads, one, n)
          await take(expected, one, n)
        }
        life[Symbol.dispose]()
        {
          using again = new Life(folder, isOlder ? older : undefined)
          assert.deepEqual(await pushedIn(again.reads), await pushedIn(expected))
          again.copyTo(older)
        }
        using inStep = new Life(folder, older)
        assert.deepEqual(inStep.journal.found, {}, 'both are in step')
        assert.deepEqual(await pushedIn(inStep.reads), await pushedIn(expected))
      }),
      { numRuns: 40, endOnFailure: true },
    )
  })
}

test('cut at any byte: all that was whole before it is there', async (t) => {
  const { folder, journal, states, sizes } = await pushes(t)
  const whole = readFileSync(journal)
  const begin = sizes[0] ?? 0
  for (let size = begin; size <= whole.length; size += 1 + (size % 7)) {
    writeFileSync(journal, whole.subarray(0, size))
    using again = new Life(folder)
    assert.deepEqual(await pushedIn(again.reads), states[sizes.findLastIndex((end) => end <= size)])
  }
})

test('whatever byte is flipped: at most two changes are lost, and it is told', async (t) => {
  const { folder, journal, sizes, last } = await pushes(t)
  const whole = readFileSync(journal)
  const all = Object.keys(last ?? {}).length
  for (let at = 0; at < whole.length; at += 23) {
    const flipped = Buffer.from(whole)
    flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8))
    writeFileSync(journal, flipped)
    using again = new Life(folder)
    const found = Object.keys(await pushedIn(again.reads)).length
    assert.ok(found > all - 12, `${found} of ${all} where ${at} is flipped`)
    // The last one may as well have been cut off by a kill.
    const isTold = at >= 160 && at < (sizes.at(-2) ?? 0) - 1
    if (isTold) assert.ok((again.journal.found.replayed?.unreadable ?? 0) > 0, `${at}`)
  }
})

test('damaged where the catalog is whole: it is written anew before it is needed', async (t) => {
  const { folder, journal, now, last } = await pushes(t)
  const whole = readFileSync(journal)
  for (const at of [20, 200, whole.length - 50]) {
    const flipped = Buffer.from(whole)
    flipped[at] = (flipped[at] ?? 0) ^ 1
    writeFileSync(journal, flipped)
    {
      const inode = statSync(journal).ino
      using life = new Life(folder, now)
      await until(() => statSync(journal).ino !== inode)
      assert.deepEqual(await pushedIn(life.reads), last)
    }
    using again = new Life(folder)
    assert.deepEqual(await pushedIn(again.reads), last)
    assert.equal(again.journal.found.replayed?.unreadable, 0)
  }
})

test('removed, replaced, or cut short while it is open: told, and written anew with what came since', async (t) => {
  const spoil: Record<string, (path: string) => void> = {
    removed: (path) => rmSync(path),
    replaced: (path) => {
      rmSync(path)
      writeFileSync(path, '')
    },
    cut: (path) => truncateSync(path, 100),
  }
  for (const [what, spoiled] of Object.entries(spoil)) {
    const { folder, journal, now } = await pushes(t)
    let last: unknown
    {
      using life = new Life(folder, now)
      spoiled(journal)
      await take(life.reads, { untagged: 1 }, 20)
      await take(life.reads, { put: 0, repository: 1, tags: [0] }, 21)
      last = await pushedIn(life.reads)
      await until(() => life.troubles.length === 2)
      assert.match(String(life.troubles[0]), /removed or replaced/, what)
      assert.equal(life.troubles[1], undefined)
    }
    using again = new Life(folder)
    assert.deepEqual(await pushedIn(again.reads), last)
  }
})

test('of another catalog: it is kept, and nothing of it comes in', async (t) => {
  const one = await pushes(t)
  const other = await pushes(t)
  copyFileSync(one.journal, other.journal)
  using life = new Life(other.folder, other.now)
  await take(life.reads, { untagged: 0 }, 20)
  assert.equal(life.journal.found.replayed, undefined)
  assert.deepEqual(readFileSync(life.journal.found.keptAs ?? ''), readFileSync(one.journal))
})

test('a damaged catalog: what could not be read of it comes from the journal, and the history of tags stays', async (t) => {
  const { folder, now, last } = await pushes(t)
  const moves = 'SELECT repository, name, moved_at, hex(digest) FROM tag_move ORDER BY 1, 2, 3'
  let before: unknown
  {
    using damaged = new DatabaseSync(now)
    before = damaged.prepare(moves).all()
    damaged.exec('DELETE FROM holding; DELETE FROM manifest; DELETE FROM tag')
  }
  using life = new Life(folder, now, true)
  assert.deepEqual(await pushedIn(life.reads), last)
  assert.deepEqual(life.database.prepare(moves).all(), before)
})

test('it has the mode of the catalog, and is written anew before it has grown much', async (t) => {
  const { folder, journal, now } = await pushes(t)
  chmodSync(now, 0o600)
  rmSync(journal)
  let last: unknown
  let largest = 0
  {
    using life = new Life(folder, now)
    await until(() => existsSync(journal))
    assert.equal(statSync(journal).mode & 0o777, 0o600)
    for (let n = 0; n < 1000; n += 1) {
      await take(life.reads, { put: n % known.length, tags: [n % 2] }, n)
      if (n % 10 === 0) await new Promise((resolve) => setImmediate(resolve))
      largest = Math.max(largest, statSync(journal).size)
    }
    last = await pushedIn(life.reads)
  }
  assert.ok(largest > 100_000 && largest < 200_000, `${largest} bytes`)
  using again = new Life(folder)
  assert.deepEqual(await pushedIn(again.reads), last)
})

test('an older catalog, from before the journal was written anew: what was deleted since is not back', async (t) => {
  const { folder, journal, now } = await pushes(t)
  const later = join(folder, 'later.db')
  let last: unknown
  {
    using life = new Life(folder, now)
    for (const [n, one] of [{ deleted: 3 }, { deleted: 0 }, { untagged: 1 }].entries()) {
      await take(life.reads, one, 20 + n)
    }
    last = await pushedIn(life.reads)
    life.copyTo(later)
  }
  rmSync(journal)
  begun(folder, later)[Symbol.dispose]()
  using again = new Life(folder, now)
  assert.deepEqual(await pushedIn(again.reads), last)
  assert.equal(again.journal.found.replayed?.removed, 3)
})

test('what was to be collected still is, also where the journal was written anew meanwhile', async (t) => {
  const { folder, journal, now } = await pushes(t)
  const later = join(folder, 'later.db')
  let last: unknown
  {
    using life = new Life(folder, now)
    // An index goes; the manifest that only it has listed is idle without a tag.
    await take(life.reads, { untagged: 0 }, 20)
    await take(life.reads, { deleted: 3 }, 21)
    last = await pushedIn(life.reads)
    life.copyTo(later)
  }
  rmSync(journal)
  begun(folder, later)[Symbol.dispose]()
  using again = new Life(folder)
  assert.deepEqual(await pushedIn(again.reads), last)
  assert.notDeepEqual(await again.reads.idle(1e6, { limit: 10 }), [])
})

test('a blob that was taken away by itself is not held again', async (t) => {
  const folder = await storageFolder(t)
  const [repository, digest] = [repositories[0] as RepositoryKey, layers[0] as Digest]
  {
    using life = begun(folder)
    await take(life.reads, { put: 0 }, 0)
    await take(life.reads, { deleted: 0 }, 1)
    assert.equal(await life.reads.deleteBlob(repository, digest), 'unlink')
  }
  using again = new Life(folder)
  assert.equal(await again.reads.held(repository, digest), undefined)
})

test("what was half written when it was killed is in nobody's way", async (t) => {
  const { folder, journal, now } = await pushes(t)
  appendFileSync(journal, '0123abcd {"put":"local:a","dig')
  let last: unknown
  {
    using life = new Life(folder, now)
    assert.deepEqual(life.journal.found, {})
    await take(life.reads, { put: 0, repository: 1, tags: [0] }, 20)
    last = await pushedIn(life.reads)
  }
  using again = new Life(folder)
  assert.deepEqual(await pushedIn(again.reads), last)
})

test('pins are there, and what a tag pointed at before it moved is pinned no more', async (t) => {
  const folder = await storageFolder(t)
  let last: unknown
  {
    using life = begun(folder)
    await take(life.reads, { put: 0, tags: [1] }, 0)
    await take(life.reads, { pinned: { origin: 'local', repository: '*', tag: '*' } }, 0)
    await take(life.reads, { pinned: { origin: 'docker.io', repository: 'a', tag: 'v1' } }, 1)
    await take(life.reads, { put: 1, tags: [1] }, 3)
    await take(life.reads, { unpinned: { origin: 'docker.io', repository: 'a', tag: 'v1' } }, 4)
    last = await pushedIn(life.reads)
  }
  using again = new Life(folder)
  assert.deepEqual(await pushedIn(again.reads), last)
  assert.equal((await again.reads.pins()).length, 1)
})

for (const [operation, error] of [
  ['write', 'ENOSPC'],
  ['write', 'EIO'],
  ['sync', 'EIO'],
  ['create', 'EROFS'],
] as const) {
  test(`the disk refuses (${operation}: ${error}): pushes go on, it is told once, and all is there afterwards`, async (t) => {
    const { folder, journal, now } = await pushes(t)
    const disk = await FaultyDisk.below(t, folder)
    let last: unknown
    {
      using life = new Life(folder, now)
      disk.fail({ operation, error })
      // Where only the next one cannot be made this one goes first.
      if (operation === 'create') await rm(journal)
      for (const n of [20, 21, 22]) await take(life.reads, { put: 0, repository: 1, tags: [n % 2] }, n)
      await until(() => life.troubles.length > 0)
      await take(life.reads, { untagged: 0, repository: 1 }, 23)
      await until(() => disk.failed > 2)
      assert.equal(life.troubles.length, 1)
      disk.heal()
      await until(() => life.troubles.length === 2)
      assert.equal(life.troubles[1], undefined)
      last = await pushedIn(life.reads)
    }
    using again = new Life(folder)
    assert.deepEqual(await pushedIn(again.reads), last)
  })
}

for (const operation of ['stat', 'unlink', 'rename', 'write', 'sync'] as const)
  test(`the disk refuses while it is being written anew (${operation}: EIO): pushes go on, and all is there afterwards`, async (t) => {
    const { folder, journal, now } = await pushes(t)
    const disk = await FaultyDisk.below(t, folder)
    let last: unknown
    {
      using life = new Life(folder, now)
      await rm(journal)
      await take(life.reads, { put: 0, repository: 1, tags: [0] }, 20)
      assert.ok(existsSync(`${journal}.next`))
      disk.fail({ operation, error: 'EIO' })
      await until(() => disk.failed > 1 || existsSync(journal))
      for (const n of [21, 22]) await take(life.reads, { put: 0, repository: 1, tags: [n % 2] }, n)
      disk.heal()
      await until(() => existsSync(journal) && life.troubles.at(-1) === undefined)
      // Once more, and it is closed meanwhile.
      await rm(journal)
      await take(life.reads, { put: 1, repository: 1, tags: [0] }, 23)
      last = await pushedIn(life.reads)
      life.copyTo(now)
      disk.fail({ operation, error: 'EIO' })
    }
    disk.heal()
    using again = new Life(folder, now)
    assert.deepEqual(await pushedIn(again.reads), last)
  })
