import type { VerbsOver } from '../catalog-over.ts'
import type { WishVerbs } from '../wishes.ts'
import { keyed } from './rows.ts'
import type { Statements } from './statements.ts'

/** Those of `sqliteVerbs` that are about what is to be fetched later. */
export const wishVerbs: Pick<VerbsOver<Statements>, keyof WishVerbs> = {
  wish(statements, { repository, reference, kind, platform, askedAt, dueAt }, most) {
    statements.run('addWish', ...keyed(repository), reference, kind, platform ?? null, askedAt, dueAt)
    statements.run('trimWishes', most)
  },

  unwish(statements, { repository, reference, kind }) {
    return statements.run('dropWish', ...keyed(repository), reference, kind) > 0
  },
}
