import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Digest } from '../../../src/oci/digest.ts'
import type { Tag } from '../../../src/oci/reference.ts'
import type { RepositoryName } from '../../../src/oci/repository-name.ts'
import { AsAnyone } from '../../../src/upstream/chain/as-anyone.ts'
import { elsewhere, UpstreamError, type UpstreamErrorCode } from '../../../src/upstream/error.ts'
import { PublicKnowledge } from '../../../src/upstream/public/knowledge.ts'
import type { Answer } from '../../../src/upstream/question.ts'
import { answerOf, FakeLink } from '../fake-link.ts'

const repository = 'library/app' as RepositoryName
const digest = `sha256:${'a'.repeat(64)}` as Digest
const latest = 'latest' as Tag

function anyone(answer: () => Answer | Promise<Answer>, account?: { isRefused: boolean }) {
  const link = new FakeLink(answer)
  const knowledge = new PublicKnowledge(300_000)
  const asAnyone = new AsAnyone(link, account, knowledge)
  const ask = (path = 'manifests/latest') =>
    asAnyone.request({ method: 'GET', repository, path, as: 'account' })
  return { link, knowledge, ask }
}

function refusal(code: UpstreamErrorCode, isElsewhere = false): () => Promise<never> {
  const error = new UpstreamError(code, 'docker.io', 'no', { status: 401 })
  return () => Promise.reject(isElsewhere ? elsewhere(error, new URL('https://cdn.test')) : error)
}

test('everything is asked as anyone, also what was meant for the account', async () => {
  for (const account of [undefined, { isRefused: false }]) {
    const { link, ask } = anyone(() => answerOf(200), account)
    await ask()
    assert.equal(link.questions[0]?.as, 'anyone')
  }
})

test('with an account a refusal is that of anyone; without one it stays what it was', async () => {
  await assert.rejects(anyone(refusal('UNAUTHORIZED')).ask(), { message: 'docker.io: no' })
  const isPrivate = /library\/app is private, or there is no such repository/
  const { ask, knowledge } = anyone(refusal('UNAUTHORIZED'), { isRefused: false })
  await assert.rejects(ask(), { code: 'UNAUTHORIZED', status: 401, message: isPrivate })
  assert.equal(knowledge.lastWord(repository), 'refused')
  const refused = anyone(refusal('FORBIDDEN'), { isRefused: true })
  await assert.rejects(refused.ask(), { code: 'FORBIDDEN', message: /refuses the configured user name/ })
})

test('what is not there, an outage, and what storage refuses say nothing about the repository', async () => {
  const account = { isRefused: false }
  for (const failure of [refusal('NOT_FOUND'), refusal('SERVER_ERROR'), refusal('FORBIDDEN', true)]) {
    const { ask, knowledge } = anyone(failure, account)
    await assert.rejects(ask('blobs/x'), /no$/)
    assert.equal(knowledge.lastWord(repository), undefined)
  }
})

test('a list says nothing about the content, shown or refused', async () => {
  const account = { isRefused: false }
  for (const path of ['tags/list?n=1', `referrers/${digest}`]) {
    const shown = anyone(() => answerOf(200), account)
    await shown.ask(path)
    assert.equal(shown.knowledge.lastWord(repository), undefined)
    const hidden = anyone(refusal('UNAUTHORIZED'), account)
    await assert.rejects(hidden.ask(path), /is private/)
    assert.equal(hidden.knowledge.lastWord(repository), undefined)
  }
})

test('what anyone was told of is remembered, unless it is a web page', async () => {
  const account = { isRefused: false }
  const headers = { 'docker-content-digest': digest }
  const told = anyone(() => answerOf(200, { headers }), account)
  await told.ask()
  assert.equal(told.knowledge.told(repository, latest)?.digest, digest)
  assert.equal(told.knowledge.lastWord(repository), 'given')
  const page = anyone(() => answerOf(200, { headers: { ...headers, 'content-type': 'text/html' } }), account)
  await page.ask()
  assert.equal(page.knowledge.told(repository, latest), undefined)
  assert.equal(page.knowledge.lastWord(repository), undefined)
})
