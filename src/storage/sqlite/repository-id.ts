import type { RepositoryKey } from '../repository-key.ts'
import { keyed } from './rows.ts'
import { DamagedRecord } from './sqlite-errors.ts'
import type { Statements } from './statements.ts'

/** Its row; undefined where nothing is known of it. */
export function idOf(statements: Statements, repository: RepositoryKey): number | undefined {
  return statements.get('repositoryId', ...keyed(repository))?.id as number | undefined
}

/** Makes the repository known. */
export function know(statements: Statements, repository: RepositoryKey): number {
  const known = idOf(statements, repository)
  if (known !== undefined) return known
  statements.run('addRepository', ...keyed(repository))
  const added = idOf(statements, repository)
  // Its row is there, and the index by which it is found does not know it.
  if (added === undefined) throw new DamagedRecord('a repository in the catalog cannot be found')
  return added
}
