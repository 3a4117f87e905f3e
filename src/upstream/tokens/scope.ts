import { isRepositoryName } from '../../oci/repository-name.ts'
import type { Challenge } from './challenge.ts'

/** Scopes beside our own that a token may have; more are not asked for. */
const maximumFurtherScopes = 4
/** Characters. */
const maximumLength = 300
/** `repository` with a class such as `(plugin)`, a name that may begin with a host and its port, and only `pull`. */
const pullOnly = /^repository(?:\([a-z0-9]{1,30}\))?:(?:[a-z0-9.-]+:\d{1,5}\/)?([^:]+):pull$/
const repositoryPath =
  /\/v2\/(.+)\/(tags\/list|(?:blobs|referrers)\/[a-z0-9]+:[0-9a-f]+|manifests\/[A-Za-z0-9_][A-Za-z0-9._:-]*)$/

/** What a token needs to read one repository (distribution, "Token Scope Documentation"). */
export function pullScope(repository: string): string {
  return `repository:${repository}:pull`
}

/**
 * The scopes that challenges name besides `own`: some registries keep a repository under another name
 * than the one in the URL. Only what reads is taken, whatever repository it is; whatever else a challenge wants is
 * left out.
 */
export function furtherScopes(challenges: readonly Challenge[], own: string): string[] {
  const named = challenges.flatMap(({ parameters }) => (parameters.get('scope') ?? '').split(' '))
  const further = named.filter((scope) => isPullOnly(scope) && scope !== own)
  return [...new Set(further)].slice(0, maximumFurtherScopes)
}

/**
 * The repository that a URL asks a registry about, or undefined where it is none of a registry's: then it leads to
 * storage, whose signed URLs must not get a token. A signature stands in the query, and manifests and blobs have
 * none but `ns`.
 */
export function repositoryOfUrl(url: URL): string | undefined {
  const [, name = '', what = ''] = repositoryPath.exec(url.pathname.replaceAll(/%3a/gi, ':')) ?? []
  if (!isRepositoryName(name)) return undefined
  const isList = /^(?:tags|referrers)\//.test(what)
  return isList || [...url.searchParams.keys()].every((key) => key === 'ns') ? name : undefined
}

function isPullOnly(scope: string): boolean {
  const [, name] = (scope.length <= maximumLength && pullOnly.exec(scope)) || []
  return name !== undefined && isRepositoryName(name)
}
