import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { pino } from 'pino'
import { Pulse } from '../../../src/flow/pulse.ts'
import { SingleFlight } from '../../../src/flow/single-flight.ts'
import type { RepositoryName } from '../../../src/oci/repository-name.ts'
import { WhileReachable, type WhileReachableOptions } from '../../../src/upstream/chain/while-reachable.ts'
import { LineUse } from '../../../src/upstream/connections/line-use.ts'
import { elsewhere, UpstreamError, type UpstreamErrorCode } from '../../../src/upstream/error.ts'
import type { Answer, Question } from '../../../src/upstream/question.ts'
import { until } from '../../support/settle.ts'
import { answerOf, FakeLink } from '../fake-link.ts'

const question: Question = { method: 'GET', repository: 'app' as RepositoryName, path: 'manifests/latest' }

/** A circuit before `answer`, of an upstream that does not come back. */
function circuitTo(
  t: TestContext,
  answer: ConstructorParameters<typeof FakeLink>[0],
  options: Partial<WhileReachableOptions> = {},
) {
  const link = new FakeLink(answer)
  const opened: string[] = []
  const circuit = new WhileReachable(link, {
    upstream: 'docker.io',
    lineUse: new LineUse(),
    patienceMs: 5000,
    probe: () => Promise.reject(new Error('still gone')),
    onOpen: () => void opened.push('open'),
    logger: pino({ level: 'silent' }),
    ...options,
  })
  t.after(() => circuit[Symbol.asyncDispose]())
  return { link, circuit, opened }
}

/** It says nothing as long as it is asked. */
function silentProbe(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
}

function failing(code: UpstreamErrorCode): () => Promise<never> {
  return () => Promise.reject(new UpstreamError(code, 'docker.io', `it is ${code}`))
}

for (const code of ['UNREACHABLE', 'TIMED_OUT'] as const) {
  test(`two times ${code} in a row: nothing is asked any more, and why is told`, async (t) => {
    const { link, circuit, opened } = circuitTo(t, failing(code))
    for (let count = 0; count < 2; count += 1) await assert.rejects(circuit.request(question), { code })
    assert.deepEqual([circuit.isReachable, opened], [false, ['open']])
    const message = `docker.io: it cannot be reached: it is ${code}; it is not asked before it answers again`
    await assert.rejects(circuit.request(question), { code: 'CIRCUIT_OPEN', message })
    assert.equal(link.questions.length, 2)
  })
}

test('what has been answered is no outage, whatever it was; a limit that is not asked is none, either', async (t) => {
  for (const code of ['RATE_LIMITED', 'REFUSED', 'INVALID_RESPONSE', 'UNAUTHORIZED'] as const) {
    const { circuit } = circuitTo(t, failing(code))
    for (let count = 0; count < 4; count += 1) await assert.rejects(circuit.request(question), { code })
    assert.equal(circuit.isReachable, true, code)
  }
  const { circuit } = circuitTo(t, () => answerOf(503))
  for (let count = 0; count < 4; count += 1) assert.equal((await circuit.request(question)).status, 503)
  assert.equal(circuit.isReachable, true)
})

test('an answer between two failures, also of where it sent us, keeps the circuit closed', async (t) => {
  const gone = failing('UNREACHABLE')
  const ofStorage = () =>
    Promise.reject(
      elsewhere(new UpstreamError('UNREACHABLE', 'docker.io', 'no way'), new URL('https://cdn.test')),
    )
  for (const between of [() => Promise.resolve(answerOf(404)), ofStorage]) {
    const script = [gone, between, gone, between, gone]
    const { circuit } = circuitTo(t, () => (script.shift() ?? gone)())
    for (let count = 0; count < 5; count += 1) await circuit.request(question).catch(() => {})
    assert.equal(circuit.isReachable, true)
  }
})

test('who was sent on and finds nothing says nothing about the upstream', async (t) => {
  const { circuit } = circuitTo(t, ({ onRedirect }) => {
    onRedirect?.()
    return failing('UNREACHABLE')()
  })
  for (let count = 0; count < 4; count += 1) await assert.rejects(circuit.request(question))
  assert.equal(circuit.isReachable, true)
})

test('silence counts once for a question, though it fails later as well', async (t) => {
  let fail: ((error: Error) => void) | undefined
  const { circuit } = circuitTo(
    t,
    () =>
      new Promise((_, reject) => {
        fail = reject
      }),
    { patienceMs: 20, probe: silentProbe },
  )
  const asking = new SingleFlight<string, unknown>()
  await assert.rejects(
    asking.run('one', () => circuit.request(question)),
    { code: 'TIMED_OUT' },
  )
  fail?.(new UpstreamError('UNREACHABLE', 'docker.io', 'cut'))
  await until(() => !asking.has('one'))
  assert.equal(circuit.isReachable, true)
  await assert.rejects(
    asking.run('two', () => circuit.request(question)),
    { code: 'TIMED_OUT' },
  )
  assert.equal(circuit.isReachable, false)
  fail?.(new Error('over'))
})

for (const isThere of [true, false]) {
  test(`silence of two questions while it ${isThere ? 'answers' : 'does not answer'} whether it is there`, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout', 'Date'] })
    t.mock.method(performance, 'now', () => Date.now())
    const silent: PromiseWithResolvers<never>[] = []
    let probes = 0
    const probe = async () => {
      probes += 1
      if (!isThere) throw new Error('gone')
    }
    const { circuit } = circuitTo(
      t,
      () => {
        const asked = Promise.withResolvers<never>()
        silent.push(asked)
        return asked.promise
      },
      { probe },
    )
    const asked = [circuit.request(question), circuit.request(question)]
    t.mock.timers.tick(449)
    assert.equal(probes, 0)
    t.mock.timers.tick(1)
    t.mock.timers.tick(20)
    assert.equal(probes, 1, 'once for all')
    await new Promise(setImmediate)
    for (const { reject } of silent) reject(new UpstreamError('TIMED_OUT', 'docker.io', 'silent'))
    for (const outcome of await Promise.allSettled(asked)) assert.equal(outcome.status, 'rejected')
    assert.equal(circuit.isReachable, isThere)
  })
}

test('what is answered in time asks nothing more', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const probe = t.mock.fn(async () => {})
  const { circuit } = circuitTo(t, async () => answerOf(200), { probe })
  await circuit.request(question)
  t.mock.timers.tick(60_000)
  assert.equal(probe.mock.callCount(), 0)
})

test('silence of a question says nothing once another one that was asked later has its answer', async (t) => {
  const silent: PromiseWithResolvers<never>[] = []
  const { circuit } = circuitTo(t, ({ path }) => {
    if (path === 'manifests/latest') return Promise.resolve(answerOf(200))
    const asked = Promise.withResolvers<never>()
    silent.push(asked)
    return asked.promise
  })
  const asked = Array.from({ length: 4 }, (_, index) =>
    circuit.request({ ...question, path: `manifests/${index}` }),
  )
  await circuit.request(question)
  for (const { reject } of silent) reject(new UpstreamError('TIMED_OUT', 'docker.io', 'silent'))
  for (const outcome of await Promise.allSettled(asked)) assert.equal(outcome.status, 'rejected')
  await circuit.request(question)
  assert.equal(circuit.isReachable, true)
})

test('silence while blobs of the same upstream come in is no outage', async (t) => {
  const lineUse = new LineUse()
  const { circuit } = circuitTo(t, failing('TIMED_OUT'), { lineUse })
  for (let count = 0; count < 4; count += 1) {
    lineUse.note('docker.io')
    await assert.rejects(circuit.request(question), { code: 'TIMED_OUT' })
  }
  assert.equal(circuit.isReachable, true)
})

/** A circuit whose clock goes on by ticks alone, and the questions that wait for their answers. */
function hangingCircuit(t: TestContext, options: Partial<WhileReachableOptions> = {}) {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] })
  t.mock.method(performance, 'now', () => Date.now())
  const asked: (PromiseWithResolvers<Answer> & { readonly pulse: Pulse | undefined })[] = []
  const answer = () => {
    const question = Promise.withResolvers<Answer>()
    asked.push({ ...question, pulse: Pulse.current })
    return question.promise
  }
  const { circuit } = circuitTo(t, answer, { probe: silentProbe, ...options })
  const pass = async (milliseconds: number) => {
    for (let elapsed = 0; elapsed < milliseconds; elapsed += 10) {
      t.mock.timers.tick(10)
      await new Promise(setImmediate)
    }
  }
  const ask = (): void => void circuit.request(question).catch(() => {})
  return { circuit, asked, pass, ask }
}

test('an upstream that hangs is silent within a second, for all; a step on the way to it is no answer', async (t) => {
  const { circuit, asked, pass, ask } = hangingCircuit(t)
  let told = 0
  circuit.whenSilent(() => {
    told += 1
  })
  ask()
  await pass(10)
  asked[0]?.pulse?.stepped(10)
  await pass(800)
  assert.deepEqual([circuit.isSilent, told], [false, 0])
  await pass(190)
  assert.deepEqual([circuit.isSilent, circuit.isReachable, told], [true, true, 1])
  asked[0]?.resolve(answerOf(200))
  await pass(10)
  assert.equal(circuit.isSilent, false, 'it was only late')
})

test('a registry that is asked and hangs is unreachable within a second after the patience', async (t) => {
  const { circuit, asked, pass, ask } = hangingCircuit(t)
  ask()
  await pass(5000)
  asked[0]?.reject(new UpstreamError('TIMED_OUT', 'docker.io', 'silent'))
  await pass(1000)
  assert.equal(circuit.isReachable, false)
})

test('over a long way each step takes its time, and that is no silence', async (t) => {
  const { circuit, asked, pass, ask } = hangingCircuit(t)
  ask()
  for (let step = 0; step < 3; step += 1) {
    await pass(600)
    asked[0]?.pulse?.stepped(600)
    assert.equal(circuit.isSilent, false)
  }
  asked[0]?.resolve(answerOf(200))
  await pass(10)
  assert.equal(circuit.isSilent, false)
})

test('a registry whose answers take a second is looked at once, and waited for from then on', async (t) => {
  const probe = t.mock.fn(async () => {})
  const { circuit, asked, pass, ask } = hangingCircuit(t, { probe })
  for (let count = 0; count < 5; count += 1) {
    ask()
    await pass(1000)
    assert.equal(circuit.isSilent, false)
    asked[count]?.resolve(answerOf(200))
    await pass(10)
  }
  assert.ok(probe.mock.callCount() <= 3, `${probe.mock.callCount()} looks`)
})

test('answers that are late behind the bytes of blobs are no silence', async (t) => {
  const lineUse = new LineUse()
  const { circuit, pass, ask } = hangingCircuit(t, { lineUse })
  ask()
  for (let count = 0; count < 24; count += 1) {
    lineUse.note('ghcr.io')
    await pass(100)
    assert.equal(circuit.isSilent, false)
  }
  await pass(1000)
  assert.equal(circuit.isSilent, true)
})

test('who leaves is no failure of the upstream', async (t) => {
  const { circuit } = circuitTo(t, () => Promise.reject(new Error('left')))
  for (let count = 0; count < 4; count += 1) await assert.rejects(circuit.request(question), /left/)
  assert.equal(circuit.isReachable, true)
})
