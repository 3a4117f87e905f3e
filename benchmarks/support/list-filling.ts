import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { localOrigin } from '../../src/storage/repository-key.ts'
import { SqliteCatalog } from '../../src/storage/sqlite/sqlite-catalog.ts'

/** How much there is to list. */
export interface ListFilling {
  readonly repositories: number
  /** In one of them, `tagged`; one in each of the others. */
  readonly tags: number
}

/** The repository with most tags. */
export const tagged = 'local/team-0/app-0'

/** In the order in which they are listed. */
export function namesOf({ repositories }: ListFilling): string[] {
  return Array.from({ length: repositories }, (_, n) => `local/team-${n % 100}/app-${n}`).toSorted()
}

function tagsOf({ tags }: ListFilling, name: string): string[] {
  return Array.from({ length: name === tagged ? tags : 1 }, (_, n) => `v1.${n}`)
}

/** A data folder of Larder with repositories that were pushed, each with a manifest. */
export async function fillLarder(folder: string, filling: ListFilling): Promise<void> {
  mkdirSync(folder, { recursive: true })
  const path = join(folder, 'catalog.db')
  await (await SqliteCatalog.open(path))[Symbol.asyncDispose]()
  using database = new DatabaseSync(path)
  database.exec('PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN')
  const addRepository = database.prepare('INSERT INTO repository (id, origin, name) VALUES (?, ?, ?)')
  const addHolding = database.prepare(
    'INSERT INTO holding (repository, digest, media_type, local_at) VALUES (?, ?, ?, 1)',
  )
  const addTag = database.prepare('INSERT INTO tag VALUES (?, ?, ?, 1)')
  const digest = Buffer.alloc(33, 1)
  // As they come in, in no order of their names.
  for (const [index, name] of namesOf(filling).toReversed().entries()) {
    addRepository.run(index + 1, localOrigin, name)
    addHolding.run(index + 1, digest, 'application/vnd.oci.image.manifest.v1+json')
    for (const tag of tagsOf(filling, name)) addTag.run(index + 1, tag, digest)
  }
  database.exec('COMMIT; PRAGMA journal_mode = WAL')
}

/** The folders that docker-registry looks at for the same lists: a list reads names of folders alone. */
export function fillDockerRegistry(folder: string, filling: ListFilling): void {
  const root = join(folder, 'docker/registry/v2/repositories')
  for (const name of namesOf(filling)) {
    mkdirSync(join(root, name, '_layers'), { recursive: true })
    for (const tag of tagsOf(filling, name))
      mkdirSync(join(root, name, '_manifests/tags', tag), { recursive: true })
  }
}
