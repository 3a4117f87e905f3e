import type { Question } from '../question.ts'
import type { Route } from '../routing.ts'

/** `/v2/`: that this is a registry (distribution-spec end-1). Clients ask it first, and wait for no upstream. */
export const baseRoutes: readonly Route<'base'>[] = [
  { kind: 'base', method: 'GET', action: 'pull', answer },
  { kind: 'base', method: 'HEAD', action: 'pull', answer },
]

async function answer({ reply }: Question<'base'>): Promise<void> {
  reply.type('application/json; charset=utf-8').send('{}')
}
