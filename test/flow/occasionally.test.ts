// A line a minute for each client. Neighbours: the same one again, another one, one more than are told of, after the minute.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Occasionally } from '../../src/flow/occasionally.ts'

test('each client is told of once a minute, and no more than a hundred of them', (t) => {
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const line = new Occasionally()
  const told: string[] = []
  const tell = (client: string) => line.do(client, () => told.push(client))
  tell('a')
  tell('a')
  now = 30_000
  tell('b')
  assert.deepEqual(told.splice(0), ['a', 'b'])
  now = 60_000
  tell('a')
  tell('b')
  assert.deepEqual(told.splice(0), ['a'])
  for (let client = 0; client < 200; client += 1) tell(`${client}`)
  assert.equal(told.splice(0).length, 98)
  now = 120_000
  tell('b')
  assert.deepEqual(told, ['b'])
})
