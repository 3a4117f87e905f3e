import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Measured, targetTable } from '../../benchmarks/support/cold-table.ts'

const start = () => Promise.reject(new Error('not started'))
const contenders = [
  { name: 'Larder', start },
  { name: 'docker-registry', start },
]
const show = (value: number): string => value.toFixed(1)
const values = new Map([
  ['Larder', [2, 9, 3]],
  ['docker-registry', [6]],
])

function verdictOf(target: NonNullable<Measured['target']>): string | undefined {
  const [row] = targetTable(contenders, [{ label: ['one', 'CPU'], values, show, target }], []).rows
  return row?.at(-1)
}

test('each figure is a median with its range, beside its ratio', () => {
  const table = targetTable(contenders, [{ label: ['one', 'CPU'], values, show }], ['A note.'])
  assert.deepEqual(table, {
    head: ['what', 'measured', 'Larder', 'docker-registry', "of docker-registry's", 'to reach'],
    rows: [['one', 'CPU', '3.0 (2.0-9.0)', '6.0', '0.50x', '']],
    notes: ['A note.'],
  })
})

test('a target is judged by the median, of the figure or of the ratio, whichever way it goes', () => {
  assert.equal(verdictOf({ own: { atMost: 3 } }), '<= 3.0')
  assert.equal(verdictOf({ own: { atMost: 2.9 } }), '<= 2.9: MISSED')
  assert.equal(verdictOf({ own: { atLeast: 3.1 } }), '>= 3.1: MISSED')
  assert.equal(verdictOf({ ofDockerRegistry: { atMost: 0.5 } }), '<= 0.5x')
  assert.equal(verdictOf({ ofDockerRegistry: { atLeast: 0.6 } }), '>= 0.6x: MISSED')
})

test('without docker-registry there is nothing to be a multiple of, and no verdict about it', () => {
  const target = { ofDockerRegistry: { atMost: 0.5 } }
  const ownOnly = new Map([['Larder', [2]]])
  const table = targetTable(
    [{ name: 'Larder', start }],
    [{ label: ['one', 'CPU'], values: ownOnly, show, target }],
    [],
  )
  assert.deepEqual(table.head, ['what', 'measured', 'Larder', 'to reach'])
  assert.deepEqual(table.rows, [['one', 'CPU', '2.0', '']])
})

test('what is not judged has no column of targets', () => {
  const measured: Measured[] = [{ label: ['one', 'CPU'], values, show, target: { own: { atMost: 2.9 } } }]
  const table = targetTable(contenders, measured, [], { isJudged: false })
  assert.deepEqual(table.head, ['what', 'measured', 'Larder', 'docker-registry', "of docker-registry's"])
  assert.deepEqual(table.rows, [['one', 'CPU', '3.0 (2.0-9.0)', '6.0', '0.50x']])
})
