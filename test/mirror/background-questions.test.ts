// Neighbours thought of: somebody joins what is asked for nobody, before it is refused and as it is; nobody joins it;
// nobody's question joins that of somebody; many join at once.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SharedQuestions } from '../../src/mirror/shared-questions.ts'
import { reservedForPeople } from '../../src/upstream/error.ts'
import type { Asking } from '../../src/upstream/question.ts'
import { QuestionTurns } from '../../src/upstream/question-turns.ts'
import { failsWith } from '../upstream/fixtures.ts'

const reserved = () => reservedForPeople('docker.io', { left: 1, reserve: 10, retryAfterSeconds: 60 })

function setUp() {
  const questions = new SharedQuestions<string>()
  const repository = { upstream: { turns: new QuestionTurns({ upstream: 'docker.io' }) } }
  const asked: (string | undefined)[] = []
  const gate = Promise.withResolvers<void>()
  const question = async ({ background }: Asking) => {
    asked.push(background)
    await gate.promise
    if (background) throw reserved()
    return 'answer'
  }
  const ask = (asking: Asking) => questions.ask('key', repository, question, asking)
  return { ask, asked, open: gate.resolve, questions }
}

test('what is asked for nobody and left to people is asked for whoever has joined it, once for all of them', async () => {
  const { ask, asked, open, questions } = setUp()
  const nobody = failsWith(ask({ background: 'ahead' }), 'RESERVED')
  const people = ['a', 'b', 'c'].map((client) => ask({ client }))
  open()
  await nobody
  assert.deepEqual(await Promise.all(people), ['answer', 'answer', 'answer'])
  assert.deepEqual(asked, ['ahead', undefined])
  assert.equal(questions.has('key'), false)
})

test('what is asked for nobody takes part in what somebody is answered', async () => {
  const { ask, asked, open } = setUp()
  const person = ask({ client: 'a' })
  const nobody = ask({ background: 'warming' })
  open()
  assert.deepEqual(await Promise.all([person, nobody]), ['answer', 'answer'])
  assert.deepEqual(asked, [undefined])
})

test('nobody joins it: it is refused, and not asked again', async () => {
  const { ask, asked, open } = setUp()
  open()
  await failsWith(ask({ background: 'warming' }), 'RESERVED')
  await failsWith(ask({ background: 'warming' }), 'RESERVED')
  assert.deepEqual(asked, ['warming', 'warming'])
})
