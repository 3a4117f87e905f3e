import { type Action, actions, type Scope } from './policy.ts'

/** A name of a repository, which the one of a registry with its port may lead. */
const repositoryScope = /^repository(?:\([^)]*\))?:([\w./:-]{1,400}):([a-z*,]*)$/i

/**
 * What a token is asked for (distribution "Token Scope Documentation"): `repository:a/b:pull,push`, several with spaces
 * between them or each in a parameter of its own; `*` is everything. What there is not here, other actions and other types
 * such as `registry:catalog:*`, is left out.
 */
export function parseScopes(parameters: readonly string[]): Scope[] {
  const asked = new Map<string, Set<Action>>()
  for (const scope of parameters.flatMap((parameter) => parameter.split(' '))) {
    const [, repository, list] = repositoryScope.exec(scope) ?? []
    if (repository === undefined || list === undefined) continue
    const words = list.split(',')
    const wanted = asked.get(repository) ?? new Set()
    for (const action of actions) if (words.includes(action) || words.includes('*')) wanted.add(action)
    asked.set(repository, wanted)
  }
  return [...asked].map(([repository, wanted]) => ({ repository, actions: [...wanted] }))
}

/** As it is written in a challenge and in a token's answer. */
export function formatScope({ repository, actions: allowed }: Scope): string {
  return `repository:${repository}:${allowed.join(',')}`
}
