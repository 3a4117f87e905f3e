/**
 * Runs in a process of its own, under strace: asks the catalog at the path of its first parameter for all its tags, and
 * records something. Prints what came of it as one line of JSON.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Tag } from '../../../src/oci/reference.ts'
import { SqliteCatalog } from '../../../src/storage/sqlite/sqlite-catalog.ts'
import { alpine, anyone, app, blobOf } from '../catalog-fixtures.ts'

export interface UnreadableReport {
  /** Tags that were found. */
  readonly found: number
  /** How often the catalog was rebuilt. */
  readonly rebuilt: number
  /** Of recording something: an error's code where it failed. */
  readonly recorded: string
  /** Questions about what was pushed that were answered by no. */
  readonly absent: number
  /** Whether it was found in the end. */
  readonly isRead: boolean
}

async function ask(path: string, count: number): Promise<UnreadableReport> {
  let rebuilt = 0
  let found = 0
  await using catalog = await SqliteCatalog.open(path, {
    onDamaged: () => {
      rebuilt += 1
    },
  })
  for (let n = 0; n < count; n += 1) {
    const tag = await catalog.tag(alpine, `v${n}` as Tag)
    if (tag && (await catalog.manifest(alpine, tag.digest))) found += 1
  }
  const pushed = await askForPushed(catalog)
  const recorded = await catalog.confirmed(alpine, blobOf('x'), anyone(1)).then(
    () => 'yes',
    (error: { code?: string }) => String(error.code),
  )
  return { found, rebuilt, recorded, ...pushed }
}

/** What is told of what was pushed, until it can be read. */
async function askForPushed(catalog: SqliteCatalog): Promise<Pick<UnreadableReport, 'absent' | 'isRead'>> {
  const deadline = performance.now() + 15_000
  let absent = 0
  while (performance.now() < deadline) {
    const answer = await catalog.isPushed(app).catch(() => 'in doubt' as const)
    if (answer === true) return { absent, isRead: true }
    if (answer === false) absent += 1
    await sleep(20)
  }
  return { absent, isRead: false }
}

if (import.meta.main) {
  const [path = '', count = ''] = process.argv.slice(2)
  process.stdout.write(JSON.stringify(await ask(path, Number(count))))
}
