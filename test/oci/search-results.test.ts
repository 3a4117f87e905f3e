import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseSearchResults } from '../../src/oci/search-results.ts'

function parse(value: unknown) {
  return parseSearchResults(Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)))
}

const alpine = { name: 'alpine', description: 'A small image', star_count: 9000, is_official: true }
const found = { name: 'alpine', description: 'A small image', stars: 9000, isOfficial: true }

test('what Docker Hub answers is read', () => {
  assert.deepEqual(parse({ num_results: 1, query: 'alpine', results: [alpine] }), [found])
  assert.deepEqual(parse({ results: null }), [])
  assert.deepEqual(parse({ results: [] }), [])
})

test('entries without a name that can be pulled are dropped, and fields that are none left out', () => {
  for (const name of ['UPPER', '', '../etc', 'a b', null, 5, {}, '-a', 'a:1', 'x'.repeat(256)]) {
    assert.deepEqual(parse({ results: [{ ...alpine, name }, 3, null, [], alpine] }), [found], String(name))
  }
  for (const stars of ['7', -1, 1.5, null, 1e300, {}]) {
    assert.equal(parse({ results: [{ ...alpine, star_count: stars }] })[0]?.stars, 0)
  }
  assert.deepEqual(parse({ results: [{ name: 'a' }] }), [
    { name: 'a', description: '', stars: 0, isOfficial: false },
  ])
})

test('a description is one line of text, whatever is in it', () => {
  const described = (description: string) => parse({ results: [{ ...alpine, description }] })[0]?.description
  assert.equal(described(' two\r\nlines\tand\u2028more  '), 'two lines and more')
  assert.equal(described('\u001b[31mred\u001b[0m \u0007\u009b1m\u202eback'), '[31mred [0m 1m back')
  assert.equal(described('ä'.repeat(10_000)), 'ä'.repeat(300))
  assert.equal(described(`${'x'.repeat(299)}😀${'y'.repeat(9)}`), `${'x'.repeat(299)}😀`)
})

test('a hundred of them are looked at', () => {
  assert.equal(parse({ results: Array(5000).fill(alpine) }).length, 100)
})

test('what is no answer to a search is refused', () => {
  for (const text of [
    '',
    '[]',
    '{}',
    '{"results":{}}',
    '{"results":"x"}',
    '<html>',
    '{"results":[',
    '{"errors":[]}',
  ]) {
    assert.throws(() => parse(text), { code: 'UNKNOWN', status: 502 }, text)
  }
})
