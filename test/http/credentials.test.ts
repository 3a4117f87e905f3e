/** What an Authorization header brings. Thought of: cases, spaces, colons in passwords, other alphabets, no base64, nothing. */
import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import { test } from 'node:test'
import { credentialsOf } from '../../src/http/credentials.ts'

const read = (authorization?: string) => credentialsOf({ headers: { authorization } } as IncomingMessage)
const encoded = (text: string) => Buffer.from(text).toString('base64')
const login = (user: string, password: string) => ({ scheme: 'basic', login: { user, password } })

test('names and passwords', () => {
  assert.deepEqual(read(`Basic ${encoded('ann:secret')}`), login('ann', 'secret'))
  assert.deepEqual(read(`basic  ${encoded('ann:secret')} `), login('ann', 'secret'))
  assert.deepEqual(read(`BASIC ${encoded('ann:a:b:c')}`), login('ann', 'a:b:c'))
  assert.deepEqual(read(`Basic ${encoded('zoë:pässwört')}`), login('zoë', 'pässwört'))
  assert.deepEqual(read(`Basic ${encoded('ann:')}`), login('ann', ''))
  assert.deepEqual(read(`Basic ${encoded(':secret')}`), login('', 'secret'))
  assert.deepEqual(read(`Basic ${encoded('ann:two\nlines')}`), login('ann', 'two\nlines'))
})

test('tokens', () => {
  assert.deepEqual(read('Bearer a.b.c'), { scheme: 'bearer', token: 'a.b.c' })
  assert.deepEqual(read('bearer x'), { scheme: 'bearer', token: 'x' })
})

test('what is neither', () => {
  const none = ['', 'Basic', 'Basic ', 'Bearer', 'Bearer ', 'Bearer a b', 'Digest x', `Basic ${encoded(':')}`]
  for (const header of [undefined, ...none, `Basic ${encoded('ann')}`, 'Basic ÿÿ', 'Basicx', 'x Basic eDp4'])
    assert.equal(read(header), undefined, header)
})
