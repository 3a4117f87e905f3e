import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RepositoryName } from '../../../src/oci/repository-name.ts'
import { UpstreamError, type UpstreamErrorCode } from '../../../src/upstream/error.ts'
import { PublicKnowledge } from '../../../src/upstream/public/knowledge.ts'
import { PublicWitness } from '../../../src/upstream/public/witness.ts'
import type { Answer } from '../../../src/upstream/question.ts'
import { answerOf, FakeLink } from '../fake-link.ts'

const repository = 'library/app' as RepositoryName
const list = answerOf(200)
const page = answerOf(200, { headers: { 'content-type': 'text/html' } })

function witnessBefore(said: Answer | UpstreamErrorCode) {
  const link = new FakeLink(() => {
    if (typeof said !== 'string') return said
    throw new UpstreamError(said, 'docker.io', 'no')
  })
  const knowledge = new PublicKnowledge(300_000)
  return { link, knowledge, witness: new PublicWitness(link, knowledge) }
}

test('only a list that is not found says that the repository is gone', async () => {
  for (const [said, isListed, isGone] of [
    [list, true, false],
    [page, false, false],
    ['UNAUTHORIZED', false, false],
    ['FORBIDDEN', false, false],
    ['RATE_LIMITED', false, false],
    ['UNREACHABLE', false, false],
    ['NOT_FOUND', false, true],
  ] as const) {
    const { witness, link } = witnessBefore(said)
    const told = [await witness.isListed(repository), await witness.isGone(repository)]
    assert.deepEqual(told, [isListed, isGone], String(said))
    assert.equal(link.questions[0]?.path, 'tags/list?n=1')
  }
})

test('after a refusal of its content, heard or recalled, no list is a witness until something is given again', async () => {
  for (const refuse of ['note', 'recallRefusal'] as const) {
    const { witness, knowledge } = witnessBefore(list)
    knowledge[refuse](repository, 'refused')
    assert.deepEqual([await witness.isListed(repository), await witness.isGone(repository)], [false, true])
    knowledge.note(repository, 'given')
    assert.equal(await witness.isListed(repository), true)
  }
})

test('a refusal that is recalled displaces nothing that is known', () => {
  const { knowledge } = witnessBefore(list)
  knowledge.note(repository, 'given')
  knowledge.recallRefusal(repository)
  assert.equal(knowledge.lastWord(repository), 'given')
})
