/**
 * Runs in a process of its own, under strace: asks the catalog at the path of its first parameter for all its tags, and
 * records something. Prints what came of it as one line of JSON.
 */
import type { Tag } from '../../../src/oci/reference.ts'
import { SqliteCatalog } from '../../../src/storage/sqlite/sqlite-catalog.ts'
import { alpine, anyone, blobOf } from '../catalog-fixtures.ts'

export interface UnreadableReport {
  /** Tags that were found. */
  readonly found: number
  /** How often the catalog was rebuilt. */
  readonly rebuilt: number
  /** Of recording something: an error's code where it failed. */
  readonly recorded: string
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
  const recorded = await catalog.confirmed(alpine, blobOf('x'), anyone(1)).then(
    () => 'yes',
    (error: { code?: string }) => String(error.code),
  )
  return { found, rebuilt, recorded }
}

if (import.meta.main) {
  const [path = '', count = ''] = process.argv.slice(2)
  process.stdout.write(JSON.stringify(await ask(path, Number(count))))
}
