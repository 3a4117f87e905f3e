import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Digest } from '../../../src/oci/digest.ts'
import type { Tag } from '../../../src/oci/reference.ts'
import type { RepositoryName } from '../../../src/oci/repository-name.ts'
import { AsAnyone } from '../../../src/upstream/chain/as-anyone.ts'
import { UpstreamError, type UpstreamErrorCode } from '../../../src/upstream/error.ts'
import { AccountPulls } from '../../../src/upstream/public/account-pulls.ts'
import { PublicKnowledge } from '../../../src/upstream/public/knowledge.ts'
import { PublicWitness } from '../../../src/upstream/public/witness.ts'
import type { Answer } from '../../../src/upstream/question.ts'
import { answerOf, FakeLink } from '../fake-link.ts'

const repository = 'library/app' as RepositoryName
const latest = 'latest' as Tag
const digest = `sha256:${'a'.repeat(64)}` as Digest
const child = `sha256:${'b'.repeat(64)}` as Digest
const question = { repository, path: 'manifests/latest' }
const named = answerOf(200, { headers: { 'docker-content-digest': digest } })

/** What the registry says to `as METHOD path`; a code is thrown, and what is not in it is there. */
type Script = Readonly<Record<string, Answer | UpstreamErrorCode>>

function pulls(script: Script, account: { isPaused: boolean; isRefused: boolean } | undefined) {
  const registry = new FakeLink(({ as = 'anyone', method, path }) => {
    const said = script[`${as} ${method} ${path}`] ?? named
    if (typeof said !== 'string') return { ...said, as }
    throw new UpstreamError(said, 'docker.io', `it is ${said}`)
  })
  const knowledge = new PublicKnowledge(300_000)
  const asAnyone = new AsAnyone(registry, account, knowledge)
  const witness = new PublicWitness(asAnyone, knowledge)
  const parts = new AccountPulls({ registry, asAnyone, account, knowledge, witness })
  const asked = () => registry.questions.splice(0).map(({ as, method, path }) => `${as} ${method} ${path}`)
  const pull = async (isHeadUseful = true): Promise<Answer> =>
    parts.get(question, await parts.locate(latest, question, isHeadUseful))
  return { parts, knowledge, asked, pull }
}

const account = { isPaused: false, isRefused: false }

test('the account gets the very manifest that anyone was told of, as evidence for anyone', async () => {
  const { asked, pull } = pulls({}, account)
  assert.equal((await pull()).as, 'anyone')
  assert.deepEqual(asked(), ['anyone HEAD manifests/latest', `account GET manifests/${digest}`])
  await pull()
  assert.deepEqual(asked(), [`account GET manifests/${digest}`], 'what anyone was just told of is known')
})

test('without an account, or while it is refused, anyone asks, once', async () => {
  for (const none of [undefined, { isPaused: true, isRefused: true }]) {
    const { asked, pull } = pulls({}, none)
    await pull()
    assert.deepEqual(asked(), ['anyone GET manifests/latest'])
  }
})

test('where HEAD is no use, or tells nothing, anyone asks', async () => {
  for (const [head, isHeadUseful] of [
    [answerOf(200), true],
    ['INVALID_RESPONSE', true],
    ['SERVER_ERROR', true],
    ['REFUSED', true],
    [named, false],
  ] as const) {
    const { asked, pull } = pulls({ 'anyone HEAD manifests/latest': head }, account)
    await pull(isHeadUseful)
    assert.equal(asked().at(-1), 'anyone GET manifests/latest')
  }
})

test('what anyone is refused nobody gets', async () => {
  const refused = {
    'anyone HEAD manifests/latest': 'UNAUTHORIZED',
    'anyone GET manifests/latest': 'UNAUTHORIZED',
  } as const
  const { asked, pull } = pulls(refused, account)
  await assert.rejects(pull(), { code: 'UNAUTHORIZED', message: /is private/ })
  assert.deepEqual(asked(), ['anyone HEAD manifests/latest', 'anyone GET manifests/latest'])
})

test('while nobody can tell what anyone gets, nothing is fetched', async () => {
  for (const code of ['CIRCUIT_OPEN', 'TIMED_OUT'] as const) {
    const { asked, pull } = pulls({ 'anyone HEAD manifests/latest': code }, account)
    await assert.rejects(pull(), { code })
    assert.deepEqual(asked(), ['anyone HEAD manifests/latest'])
  }
})

test("anyone's quota is used up: the list of tags is the witness, and a refused one is none", async () => {
  const limited = { 'anyone HEAD manifests/latest': 'RATE_LIMITED' } as const
  const listed = pulls(limited, account)
  await listed.pull()
  assert.deepEqual(listed.asked().slice(1), ['anyone GET tags/list?n=1', 'account GET manifests/latest'])
  const page = answerOf(200, { headers: { 'content-type': 'text/html' } })
  for (const list of ['UNAUTHORIZED', 'NOT_FOUND', page] as const) {
    const hidden = pulls({ ...limited, 'anyone GET tags/list?n=1': list }, account)
    await assert.rejects(hidden.pull(), { code: 'RATE_LIMITED' })
    assert.equal(hidden.asked().length, 2)
  }
})

test('the account is shut out, or has no quota left: anyone asks; what else fails is not asked twice', async () => {
  for (const code of ['UNAUTHORIZED', 'FORBIDDEN', 'NOT_FOUND', 'RATE_LIMITED', 'SERVER_ERROR'] as const) {
    const { asked, pull } = pulls({ [`account GET manifests/${digest}`]: code }, account)
    if (code === 'SERVER_ERROR') await assert.rejects(pull(), { code })
    else await pull()
    assert.equal(asked().length, code === 'SERVER_ERROR' ? 2 : 3, code)
  }
})

test('what an index lists is as public as the index; what is no index lists nothing', async () => {
  const { parts, knowledge } = pulls({}, account)
  const located = { reference: latest, toldAt: performance.now() }
  const index = { manifests: [{ digest: child }, { digest: 'x' }, {}, null, 7] }
  for (const text of ['', '[]', 'null', '{"manifests":7}']) {
    parts.noteChildren(repository, Buffer.from(text), located)
  }
  assert.equal(knowledge.told(repository, child), undefined)
  parts.noteChildren(repository, Buffer.from(JSON.stringify(index)), located)
  assert.deepEqual(knowledge.told(repository, child), { digest: child, at: located.toldAt })
})
