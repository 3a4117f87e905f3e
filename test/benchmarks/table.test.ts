import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compare, markdown, median, showRange } from '../../benchmarks/support/table.ts'

const ours = { name: 'ours', start: () => Promise.reject(new Error('not started')) }
const theirs = { ...ours, name: 'theirs' }
const show = (value: number): string => String(value)

test('the median of an odd number of values is the middle one, of an even number between the two', () => {
  assert.equal(median([9, 1, 5]), 5)
  assert.equal(median([1, 2, 4, 100]), 3)
  assert.ok(Number.isNaN(median([])))
})

test('a range says its unit once, and nothing where there is none', () => {
  const showMegabytes = (value: number): string => `${value} MB`
  assert.equal(showRange([184, 171, 191], showMegabytes), '184 MB (171-191)')
  assert.equal(
    showRange([1, 1], (value) => `${value}x`),
    '1x',
  )
  assert.equal(showRange([], show), '')
})

test('the ratio is above 1 where the first is better, whichever way better goes', () => {
  const values = new Map([
    ['ours', [2]],
    ['theirs', [4]],
  ])
  const rows = [
    { label: ['time'], values, show, better: 'less' },
    { label: ['rate'], values, show, better: 'more' },
    { label: ['outcome'], values, show },
  ] as const
  assert.deepEqual(compare(['what'], [ours, theirs], rows, []).rows, [
    ['time', '2', '4', '2.00'],
    ['rate', '2', '4', '0.50'],
    ['outcome', '2', '4', ''],
  ])
})

test('without anybody to compare with there is one column and no ratio', () => {
  const rows = [{ label: ['time'], values: new Map([['ours', [2]]]), show, better: 'less' }] as const
  const table = compare(['what'], [ours], rows, [])
  assert.deepEqual(table.head, ['what', 'ours'])
  assert.deepEqual(table.rows, [['time', '2']])
})

test('markdown aligns its columns and ends with the notes', () => {
  const table = { head: ['what', 'ours'], rows: [['time', '12']], notes: ['One run.', 'No line.'] }
  assert.equal(markdown(table), '| what | ours |\n| ---- | ---: |\n| time |   12 |\n\nOne run. No line.')
})
