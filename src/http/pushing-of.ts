import type { Pushing, Repository } from '../registry/repository.ts'

/** What can be pushed into the repository of a route that writes: none is found for it that takes nothing. */
export function pushingOf({ repository }: { readonly repository: Repository }): Pushing {
  if (repository.push) return repository.push
  throw new TypeError(`${repository.key} takes no pushes, and was found for one`)
}
