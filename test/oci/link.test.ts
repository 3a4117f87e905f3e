import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { formatNextLink, parseLinks } from '../../src/oci/link.ts'

const parseLink = (header: string | undefined) => parseLinks(header).links
const next = (target: string) => ({ target, relation: 'next' })

const cases = [
  [undefined, []],
  ['', []],
  ['</v2/_catalog?last=b&n=2>; rel="next"', [next('/v2/_catalog?last=b&n=2')]],
  ['<https://r.example/v2/a/tags/list?last=x>;rel=next', [next('https://r.example/v2/a/tags/list?last=x')]],
  ['</a>; REL="Next"', [next('/a')]],
  ['</a> ;\t rel = "next" ', [next('/a')]],
  ['</a?x=1,2;3>; rel="next"', [next('/a?x=1,2;3')]],
  ['</a>; rel="prev", </b>; rel="next"', [{ target: '/a', relation: 'prev' }, next('/b')]],
  ['</a>;rel=prev,</b>;rel=next', [{ target: '/a', relation: 'prev' }, next('/b')]],
  [' , ,</a>; rel=next, ,', [next('/a')]],
  ['</a>; rel="next last"', [next('/a'), { target: '/a', relation: 'last' }]],
  ['</a>; rel="next"; rel="prev"', [next('/a')]],
  ['</a>; title="x, <y>; rel=\\"prev\\""; rel="next"', [next('/a')]],
  ['</a>; rel="\\next"', [next('/a')]],
  ['</a>; crossorigin; rel=next', [next('/a')]],
  ['</a>;; ;rel=next;', [next('/a')]],
  ['<>; rel=next', [next('')]],
  ["</a>; rel='Next'", [next('/a')]],
  ["</a>; rel='", [{ target: '/a', relation: "'" }]],
  ['</a>', [{ target: '/a', relation: '' }]],
  ['</a>; rel', [{ target: '/a', relation: '' }]],
  ['</a>; rel=""', [{ target: '/a', relation: '' }]],
  ["</a>; rel=''", [{ target: '/a', relation: '' }]],
  ['</a>, </b>; rel=next', [{ target: '/a', relation: '' }, next('/b')]],
  ['</a>; rel="next", </b>; rel="prev', [next('/a')]],
  ['</a>; rel="next', []],
  ['</a; rel="next"', []],
  ['/a; rel="next"', []],
  ['</a>; rel="next" </b>; rel=prev', []],
  ['</a>; rel=next, junk, </b>; rel=prev', [next('/a')]],
] as const

for (const [header, expected] of cases) {
  test(`Link ${header} gives ${expected.length} relations`, () =>
    assert.deepEqual(parseLink(header), expected))
}

test('a next link is written with its query as it is, but nothing that ends the link', () => {
  assert.equal(
    formatNextLink('/v2/_catalog', 'n=2&last=a%2Fb+c~*'),
    '</v2/_catalog?n=2&last=a%2Fb+c~*>; rel="next"',
  )
  assert.equal(formatNextLink('/v2/_catalog', ''), '</v2/_catalog>; rel="next"')
  assert.doesNotMatch(formatNextLink('/x', 'last=>; rel="prev", <\r\n\u{1F40B}'), /prev"|\r|\n|<.*<|[^!-~ ]/u)
})

test('what is written is read back, alone and after another link', () => {
  const parameters = fc.dictionary(
    fc.string({ unit: 'grapheme', minLength: 1 }),
    fc.string({ unit: 'grapheme' }),
  )
  fc.assert(
    fc.property(parameters, (query) => {
      const header = formatNextLink('/v2/library/alpine/tags/list', new URLSearchParams(query).toString())
      const links = parseLink(`<,;">; title="a\\", <b>"; rel=prev , ${header}`)
      assert.deepEqual(parseLink(header), links.slice(1))
      const url = new URL(links[1]?.target ?? '', 'http://registry.example')
      assert.equal(url.pathname, '/v2/library/alpine/tags/list')
      assert.deepEqual(new Map(url.searchParams), new Map(Object.entries(query)))
    }),
  )
})

test('any string is read without throwing, and no target or relation holds a delimiter', () => {
  const alphabet = fc.constantFrom('<', '>', ';', ',', '"', '\\', '=', ' ', 'a', 'rel', 'rel=next', '<a>')
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: alphabet })), (header) => {
      for (const { target, relation } of parseLink(header)) {
        assert.ok(!target.includes('>'))
        assert.match(relation, /^[^ \t]*$/)
        assert.equal(relation, relation.toLowerCase())
      }
    }),
    { numRuns: 2000 },
  )
})

test('a hostile header is read at once, at the maximal length too', () => {
  const patterns = [
    '-',
    '<',
    '<>',
    '<>,',
    ';',
    '<>;',
    '"',
    '\\',
    '\\"',
    ' ',
    '\t,',
    ';a',
    ';a="',
    ';a ',
    'a_',
    'a__',
  ]
  for (const pattern of patterns) {
    for (const prefix of ['', '<>', '<a>;rel="', '<a>;rel=', '<a>;a=', '<a>;a']) {
      for (const length of [1e5, 16_384]) {
        const header = (prefix + pattern.repeat(length)).slice(0, length - 1).concat('!')
        const before = process.threadCpuUsage()
        parseLink(header)
        assert.ok(process.threadCpuUsage(before).user < 50_000, `slow on ${length} of ${prefix}${pattern}`)
      }
    }
  }
})

const wholes = [
  [undefined, true],
  ['', true],
  [' , ,', true],
  ['</a>; rel="next"', true],
  ['</a>; rel=next , </b>; rel=prev,', true],
  ['garbage', false],
  ['<', false],
  ['</a>; rel="next"x', false],
  ['</a>; rel=next, junk', false],
  ['</a>; rel="next"'.padEnd(16_385), false],
] as const

for (const [header, isWhole] of wholes) {
  test(`Link ${header?.slice(0, 40)} is ${isWhole ? 'read to its end' : 'malformed'}`, () =>
    assert.equal(parseLinks(header).isWhole, isWhole))
}

test('a header beyond the maximal length is ignored', () => {
  const link = '</a>; rel=next'
  assert.equal(parseLink(link.padEnd(16_384, ' ')).length, 1)
  assert.deepEqual(parseLink(link.padEnd(16_385, ' ')), [])
})
