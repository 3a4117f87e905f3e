import type { Authorizer } from '../authorize.ts'
import type { Question } from '../question.ts'
import type { Route } from '../routing.ts'

/**
 * `/v2/`: that this is a registry (distribution-spec end-1). Clients ask it first, and wait for no upstream. Where there
 * are users it is also how to log in: many clients learn that here, and from no later refusal.
 */
export function baseRoutes({ authorizer }: { readonly authorizer: Authorizer }): readonly Route<'base'>[] {
  return (['GET', 'HEAD'] as const).map((method) => ({
    kind: 'base',
    method,
    action: 'pull',
    answer: (question) => answer(authorizer, question),
  }))
}

async function answer(authorizer: Authorizer, { context, reply }: Question<'base'>): Promise<void> {
  await authorizer.requireToken(context)
  reply.type('application/json; charset=utf-8').send('{}')
}
