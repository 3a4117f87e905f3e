import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Pulse } from '../../src/flow/pulse.ts'
import type { Asking } from '../../src/upstream/question.ts'
import { QuestionTurns } from '../../src/upstream/question-turns.ts'

const settled = () => new Promise(setImmediate)

/** Questions that run until they are told to end. */
function script() {
  const running: PromiseWithResolvers<string>[] = []
  const ask = () => {
    const question = Promise.withResolvers<string>()
    running.push(question)
    return question.promise
  }
  return { running, ask }
}

test('sixteen questions are asked at a time, in the order in which they came; each kind has a line of its own', async () => {
  const turns = new QuestionTurns({ upstream: 'docker.io' })
  const { running, ask } = script()
  const asked = Array.from({ length: 20 }, () => turns.take('question', {}, ask))
  await settled()
  assert.equal(running.length, 16)
  const referrers = script()
  const lists = Array.from({ length: 6 }, () => turns.take('referrers', {}, referrers.ask))
  const unknown = script()
  const madeUp = Array.from({ length: 6 }, () => turns.take('unknown referrers', {}, unknown.ask))
  await settled()
  assert.deepEqual([referrers.running.length, unknown.running.length], [4, 2])
  running[3]?.resolve('the fourth')
  running[7]?.reject(new Error('failed'))
  assert.equal(await asked[3], 'the fourth')
  await assert.rejects(asked[7] as Promise<string>, /failed/)
  await settled()
  assert.equal(running.length, 18, 'one for each that ended, however')
  for (const all of [running, referrers.running, unknown.running]) {
    for (let index = 0; index < all.length; index += 1) {
      all[index]?.resolve('')
      await settled()
    }
  }
  await Promise.allSettled([...asked, ...lists, ...madeUp])
})

test('who leaves while he waits is never asked for, and keeps nobody waiting', async () => {
  const turns = new QuestionTurns({ upstream: 'docker.io', maximumWaiting: 5 })
  const { running, ask } = script()
  for (let index = 0; index < 16; index += 1) turns.take('question', {}, ask)
  await settled()
  const leaving = new AbortController()
  for (let round = 0; round < 3; round += 1) {
    const left = Array.from({ length: 5 }, () => turns.take('question', { signal: leaving.signal }, ask))
    if (round === 0) leaving.abort(new Error('left'))
    for (const outcome of await Promise.allSettled(left)) assert.match(JSON.stringify(outcome), /rejected/)
  }
  const staying = turns.take('question', {}, ask)
  await settled()
  assert.equal(running.length, 16)
  running[0]?.resolve('')
  await settled()
  running[16]?.resolve('his')
  assert.equal(await staying, 'his')
})

test('nobody waits behind a thousand others, nor longer than clients do', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const turns = new QuestionTurns({ upstream: 'docker.io', patienceMs: 1000, maximumWaiting: 2 })
  const { running, ask } = script()
  for (let index = 0; index < 16; index += 1) turns.take('question', {}, ask)
  await settled()
  const waiting = [turns.take('question', {}, ask), turns.take('question', {}, ask)]
  await settled()
  const own = { code: 'CROWDED', message: /^not asked, since 18 questions of this client wait/ }
  await assert.rejects(turns.take('question', {}, ask), own)
  const other = turns.take('question', { clients: ['other'] }, ask)
  t.mock.timers.tick(1000)
  const late = {
    code: 'CROWDED',
    message: /^not asked, since questions that came before took longer than 1 s/,
  }
  for (const one of [...waiting, other]) await assert.rejects(one, late)
  assert.equal(running.length, 16)
})

test('what shows no sign of life gives its turn to the next one, once, and goes on', async () => {
  const turns = new QuestionTurns({ upstream: 'docker.io' })
  const { running, ask } = script()
  const pulse = new Pulse()
  const silent = pulse.run(() => turns.take('question', {}, ask))
  for (let index = 1; index < 18; index += 1) turns.take('question', {}, ask)
  await settled()
  assert.equal(running.length, 16)
  pulse.fallSilent(new Error('silent'))
  await settled()
  assert.equal(running.length, 17)
  running[0]?.resolve('after all')
  assert.equal(await silent, 'after all')
  await settled()
  assert.equal(running.length, 17, 'its end frees no second turn')
})

test('of those whose answers are large one comes to its end at a time, and none is silent for that', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const turns = new QuestionTurns({ upstream: 'docker.io' })
  const ends: (() => void)[] = []
  let large = 0
  const pulses = Array.from({ length: 5 }, () => new Pulse())
  const asked = pulses.map((pulse) =>
    pulse.run(() =>
      turns.take('question', {}, async ({ onLarge }) => {
        await onLarge?.()
        await onLarge?.()
        large += 1
        const end = Promise.withResolvers<void>()
        ends.push(end.resolve)
        await end.promise
      }),
    ),
  )
  await settled()
  assert.equal(large, 1)
  const beats = () => pulses.map(({ lastBeat }) => lastBeat)
  const [, before] = beats()
  t.mock.timers.tick(500)
  assert.ok((beats()[1] ?? 0) > (before ?? 0), 'who waits for our own side is alive')
  ends[0]?.()
  await settled()
  assert.equal(large, 2)
  for (let index = 1; index < 5; index += 1) {
    ends[index]?.()
    await settled()
  }
  await Promise.all(asked)
  await turns.take('referrers', {}, async ({ onLarge }) => assert.equal(onLarge, undefined))
})

/** Virtual time, and questions of clients, each answered at so many bytes a second. */
function crowd(t: TestContext) {
  t.mock.timers.enable({ apis: ['setInterval', 'Date'] })
  t.mock.method(performance, 'now', () => Date.now())
  const turns = new QuestionTurns({ upstream: 'docker.io', turnMs: 1000 })
  const asked: string[] = []
  const ended: string[] = []
  const ask = (client: string, { rate = 0, isLarge = false } = {}): void => {
    const pulse = new Pulse()
    const work = async ({ signal, onLarge }: Asking) => {
      if (isLarge) await onLarge?.()
      asked.push(client)
      const over = Promise.withResolvers<never>()
      const receiving = setInterval(() => pulse.beat(rate / 10), 100)
      t.after(() => clearInterval(receiving))
      signal?.addEventListener('abort', () => {
        clearInterval(receiving)
        over.reject(signal.reason)
      })
      return over.promise
    }
    pulse
      .run(() => turns.take('question', { clients: [client] }, work))
      .catch((error: Error) => ended.push(`${client}: ${error.message}`))
  }
  const pass = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 50) {
      t.mock.timers.tick(50)
      await settled()
    }
  }
  return { ask, asked, ended, pass }
}

test('a client whose sixteen answers trickle gives turns to others at once, those that come well only in time', async (t) => {
  const { ask, asked, ended, pass } = crowd(t)
  for (let index = 0; index < 40; index += 1) ask('a', { rate: 10 })
  await pass(250)
  ask('b')
  await pass(500)
  assert.deepEqual([asked.length, asked.at(-1)], [17, 'b'])
  assert.match(
    ended.join(),
    /^a: given up, since others wait and it brought \d bytes in \d s: ask again in a moment$/,
  )
})

for (const rate of [2000, 0]) {
  test(`a client that holds all turns at ${rate} bytes a second has them for one turn`, async (t) => {
    const { ask, asked, pass } = crowd(t)
    for (let index = 0; index < 40; index += 1) ask('a', { rate })
    await pass(100)
    ask('b')
    await pass(700)
    assert.equal(asked.includes('b'), false)
    await pass(800)
    assert.equal(asked.includes('b'), true)
  })
}

test('of as many clients as there are turns those whose answers come well keep theirs, and one that trickles does not', async (t) => {
  const { ask, asked, ended, pass } = crowd(t)
  for (let index = 0; index < 15; index += 1) ask(`client ${index}`, { rate: 2000 })
  ask('trickling', { rate: 100 })
  await pass(100)
  ask('b')
  await pass(900)
  assert.equal(asked.includes('b'), false)
  await pass(5000)
  assert.equal(asked.includes('b'), true)
  assert.deepEqual(
    ended.map((message) => message.replace(/:.*/, '')),
    ['trickling'],
  )
})

test('a large answer that trickles does not keep the others', async (t) => {
  const { ask, asked, pass } = crowd(t)
  ask('a', { rate: 500, isLarge: true })
  await pass(100)
  ask('b', { isLarge: true })
  await pass(1500)
  assert.deepEqual(asked, ['a', 'b'])
})
