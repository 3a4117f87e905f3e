import type { Pushing, PushOptions, Repository } from '../registry/repository.ts'
import type { Question } from './question.ts'

/** What can be pushed into the repository of a route that writes: none is found for it that takes nothing. */
export function pushingOf({ repository }: { readonly repository: Repository }): Pushing {
  if (repository.push) return repository.push
  throw new TypeError(`${repository.key} takes no pushes, and was found for one`)
}

/** For whom something is pushed. */
export function pushOptionsOf({
  context,
  asker,
}: Pick<Question<'upload'>, 'context' | 'asker'>): PushOptions {
  const { signal, clientKey: client } = context
  return { signal, client, user: asker.who.kind === 'user' ? asker.who.name : undefined }
}
