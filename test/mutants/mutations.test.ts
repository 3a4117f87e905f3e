import assert from 'node:assert/strict'
import { test } from 'node:test'
import { mutantsOf, mutate } from './mutations.ts'

const of = (source: string): string[] => mutantsOf(source).map((mutant) => mutate(source, mutant))

test('each place has its mutants', () => {
  for (const [source, mutants] of Object.entries({
    'if (a < b) c()': ['if (true) c()', 'if (false) c()', 'if (a <= b) c()', 'if (a < b) ;'],
    'x = a ? b : c': ['x = true ? b : c', 'x = false ? b : c', ';'],
    'while (a && b) {}': ['while (false) {}', 'while (a || b) {}'],
    'const x = a ?? b': ['const x = a', 'const x = b'],
    'const x = !a': ['const x = a'],
    'const x = await a': ['const x = a'],
    'const x = a(b, signal)': ['const x = a(b, undefined)'],
    'const x = a({ b, c: 2 })': ['const x = a({  c: 2 })', 'const x = a({ b,  })'],
    'const x = [true, 0, 7]': ['const x = [false, 0, 7]', 'const x = [true, 1, 7]'],
    'for (const x of y) continue': ['for (const x of y) ;'],
    'const f = () => { return }': ['const f = () => { ; }'],
    'throw a': [';'],
    'logger.warn(a)': [],
    "this.name = 'A'": [],
    'logger.warn({ a })': [],
  })) {
    assert.deepEqual(of(source).toSorted(), mutants.toSorted(), source)
  }
})

test('types have none', () => {
  assert.deepEqual(of('interface A { b: 0 } ; type C = true; const d: 1 = e as 0; const f = g<true>'), [])
})
