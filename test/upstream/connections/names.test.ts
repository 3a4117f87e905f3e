import assert from 'node:assert/strict'
import dns from 'node:dns'
import { syncBuiltinESMExports } from 'node:module'
import { type TestContext, test } from 'node:test'
import { Names } from '../../../src/upstream/connections/names.ts'
import { stubNames } from './stub-names.ts'

const forever = new AbortController().signal

/** A resolver that never answers; returns the names that it was asked for. */
function silentResolver(t: TestContext): string[] {
  const asked: string[] = []
  const stub = t.mock.method(
    dns,
    'lookup',
    ((name: string) => void asked.push(name)) as unknown as typeof dns.lookup,
  )
  syncBuiltinESMExports()
  t.after(() => {
    stub.mock.restore()
    syncBuiltinESMExports()
  })
  return asked
}

test('a name is looked up once however many wait for it, and again later', async (t) => {
  let asked = 0
  stubNames(t, () => {
    asked += 1
    return ['192.0.2.1', '2001:db8::1']
  })
  const names = new Names()
  const found = await Promise.all([1, 2, 3].map(() => names.lookup('registry.test', forever)))
  assert.deepEqual(found[2], [
    { address: '192.0.2.1', family: 4 },
    { address: '2001:db8::1', family: 6 },
  ])
  assert.equal(asked, 1)
  await names.lookup('registry.test', forever)
  assert.equal(asked, 2)
})

test('an address is not looked up', async (t) => {
  const asked = silentResolver(t)
  assert.deepEqual(await new Names().lookup('::1', forever), [{ address: '::1', family: 6 }])
  assert.deepEqual(await new Names().lookup('127.0.0.1', forever), [{ address: '127.0.0.1', family: 4 }])
  assert.deepEqual(asked, [])
})

test('whoever leaves does not wait for the name server, and the look-up is there for the next', async (t) => {
  const asked = silentResolver(t)
  const names = new Names()
  const leaving = new AbortController()
  const first = names.lookup('registry.test', leaving.signal)
  leaving.abort(new Error('gone'))
  await assert.rejects(first, /gone/)
  names.lookup('registry.test', forever).catch(() => {})
  assert.deepEqual(asked, ['registry.test'])
})

test('names that a redirect makes up wait in no endless queue', async (t) => {
  const asked = silentResolver(t)
  const names = new Names()
  for (let count = 0; count < 64; count += 1) names.lookup(`n${count}.test`, forever).catch(() => {})
  await assert.rejects(names.lookup('one-more.test', forever), {
    code: 'EAI_AGAIN',
    message: /64 other names/,
  })
  assert.equal(asked.length, 64)
})

/** A name server that swallows questions for IPv6 addresses until it is told to answer them; `asked`: the families. */
function halfDeafResolver(t: TestContext): { asked: number[]; answerLate(): void } {
  const asked: number[] = []
  const late: (() => void)[] = []
  const answer = (
    name: string,
    { family }: { family: number },
    callback: (error: null, found: dns.LookupAddress[]) => void,
  ): void => {
    // Others still wait for their own resolver.
    if (!/^(?:one|two)\.test$/.test(name)) return
    asked.push(family)
    if (family === 4) setImmediate(() => callback(null, [{ address: '192.0.2.1', family: 4 }]))
    else late.push(() => callback(null, [{ address: '2001:db8::1', family: 6 }]))
  }
  const stub = t.mock.method(dns, 'lookup', answer as unknown as typeof dns.lookup)
  syncBuiltinESMExports()
  t.after(() => {
    stub.mock.restore()
    syncBuiltinESMExports()
  })
  const answerLate = (): void => {
    for (const answer of late.splice(0)) answer()
  }
  return { asked, answerLate }
}

test('a name server that swallows questions for IPv6: those for IPv4 will do, and the next name does not wait', {
  timeout: 60_000,
}, async (t) => {
  const { asked } = halfDeafResolver(t)
  const names = new Names()
  const found = await names.lookup('one.test', forever)
  assert.deepEqual(found, [{ address: '192.0.2.1', family: 4 }])
  // Time stands still: whoever waited for an answer about IPv6 would wait for ever.
  t.mock.timers.enable({ apis: ['setTimeout'] })
  assert.deepEqual(await names.lookup('two.test', forever), found)
  assert.deepEqual(asked, [0, 4, 4])
})

test('a name server that is slow for IPv6 and answers: the next name is asked for with both families', async (t) => {
  const { asked, answerLate } = halfDeafResolver(t)
  const names = new Names()
  assert.deepEqual(await names.lookup('one.test', forever), [{ address: '192.0.2.1', family: 4 }])
  answerLate()
  await new Promise(setImmediate)
  assert.deepEqual(await names.lookup('two.test', forever), [{ address: '192.0.2.1', family: 4 }])
  assert.deepEqual(asked, [0, 4, 0, 4])
})
