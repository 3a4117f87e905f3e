import { RegistryError } from './error.ts'
import { isJsonObject, type JsonObject, parseJsonObject, textOf } from './json.ts'
import { isRepositoryName, type RepositoryName } from './repository-name.ts'

/** A repository that a registry found (Docker's registry API v1, `GET /v1/search`). */
export interface FoundRepository {
  /** As it is called there. */
  readonly name: RepositoryName
  /** One line, without anything that a terminal would obey. */
  readonly description: string
  readonly stars: number
  readonly isOfficial: boolean
}

/** Results of one answer that are looked at, and characters of a description. */
const [maximumResults, maximumDescription] = [100, 300]

/**
 * Reads the answer to a search. Entries without a name that a repository can have are dropped. Throws RegistryError
 * UNKNOWN (502) for anything that is no such answer.
 */
export function parseSearchResults(bytes: Uint8Array): FoundRepository[] {
  const fail = (problem: string, cause?: unknown) =>
    new RegistryError('UNKNOWN', `The answer to a search ${problem}`, { status: 502, cause })
  const { results } = parseJsonObject(bytes, fail)
  if (results === null) return []
  if (!Array.isArray(results)) throw fail('has no list of results')
  return results.slice(0, maximumResults).flatMap((result) => (isJsonObject(result) ? read(result) : []))
}

function read({ name, description, star_count: stars, is_official: isOfficial }: JsonObject) {
  const text = textOf(name) ?? ''
  if (!isRepositoryName(text)) return []
  const found: FoundRepository = {
    name: text,
    description: oneLine(textOf(description) ?? ''),
    stars: typeof stars === 'number' && Number.isSafeInteger(stars) && stars > 0 ? stars : 0,
    isOfficial: isOfficial === true,
  }
  return [found]
}

/** Clients print it as it is. */
function oneLine(text: string): string {
  const plain = text.slice(0, 4 * maximumDescription).replaceAll(/[\p{Cc}\p{Cf}\p{Z}\s]+/gu, ' ')
  return [...plain.trim()].slice(0, maximumDescription).join('')
}
