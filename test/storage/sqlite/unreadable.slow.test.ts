import assert from 'node:assert/strict'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { SqliteCatalog } from '../../../src/storage/sqlite/sqlite-catalog.ts'
import { run } from '../../support/child-process.ts'
import { reasonToSkip } from '../../support/programs.ts'
import { alpine, manifestOf, pull, push } from '../catalog-fixtures.ts'
import { filesBelow, storageFolder } from '../files/storage-folder.ts'
import type { UnreadableReport } from './unreadable-child.ts'

const skip = reasonToSkip({ programs: ['strace'], root: true })
const count = 200

/** A catalog with some pages of manifests. */
async function filled(t: TestContext): Promise<string> {
  const path = join(await storageFolder(t), 'catalog.db')
  await using catalog = await SqliteCatalog.open(path)
  const texts = Array.from({ length: count }, (_, n) => `{"n":${n},"fill":"${'x'.repeat(2000)}"}`)
  await push(catalog)
  await Promise.all(texts.map((text, n) => pull(catalog, alpine, manifestOf(text), n, `v${n}`)))
  return path
}

/** Asks for everything while strace makes reads of the catalog's file fail. */
async function askWithFault(path: string, when: string): Promise<UnreadableReport> {
  const child = new URL('./unreadable-child.ts', import.meta.url).pathname
  const fault = ['-e', 'trace=pread64', '-e', `inject=pread64:error=EIO:when=${when}`, '-P', path]
  const printed = await run('node', [child, path, String(count)], {
    by: [['strace', '-f', '-o', '/dev/null', ...fault]],
  })
  return JSON.parse(printed) as UnreadableReport
}

test('a page that the disk does not give: the catalog is rebuilt, and nothing is missing', {
  skip,
}, async (t) => {
  const report = await askWithFault(await filled(t), '60')
  assert.deepEqual(report, { found: count, rebuilt: 1, recorded: 'yes', absent: 0, isRead: true })
})

test('a disk that gives nothing any more: misses, and the catalog is left for another day', {
  skip,
}, async (t) => {
  const path = await filled(t)
  const report = await askWithFault(path, '60+')
  assert.ok(report.found < count)
  assert.deepEqual(
    { ...report, found: 0 },
    {
      found: 0,
      rebuilt: 0,
      recorded: 'BROKEN',
      absent: 0,
      isRead: false,
    },
  )
  await using catalog = await SqliteCatalog.open(path, { onDamaged: () => assert.fail('it is whole') })
  assert.equal((await catalog.tags(alpine)).length, count)
  const names = (await filesBelow(join(path, '..'))).filter((name) => name.includes('damaged'))
  assert.deepEqual(names, [])
})

test('a disk that gives nothing for a while: what was pushed is in doubt and never absent, and then it is read again', {
  skip,
}, async (t) => {
  const report = await askWithFault(await filled(t), '60..63')
  assert.deepEqual([report.absent, report.isRead], [0, true])
})
