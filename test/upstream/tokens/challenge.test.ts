import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseChallenges } from '../../../src/upstream/tokens/challenge.ts'

/** What is parsed, in a form that can be written down. */
function parsed(headers: string | readonly string[] | undefined) {
  return parseChallenges(headers).map(
    ({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)] as const,
  )
}

const realm = 'https://auth.docker.io/token'
const bearer = ['bearer', { realm }]
const basic = ['basic', { realm: 'x' }]

const cases = [
  [undefined, []],
  ['', []],
  [' , ,', []],
  [
    `Bearer realm="${realm}",service="registry.docker.io",scope="repository:a/b:pull,push"`,
    [['bearer', { realm, service: 'registry.docker.io', scope: 'repository:a/b:pull,push' }]],
  ],
  [`BEARER Realm="${realm}"`, [bearer]],
  [`Bearer  realm = "${realm}" , `, [bearer]],
  [`Bearer ,realm="${realm}"`, [bearer]],
  [`Bearer\trealm="${realm}"`, [bearer]],
  ['Basic realm=x', [basic]],
  // Not by the grammar, and clear all the same.
  [`Basic realm="x", Bearer realm=${realm}`, [basic, bearer]],
  [
    `Bearer realm="${realm}",scope=repository:a/b:pull,service=s`,
    [['bearer', { realm, scope: 'repository:a/b:pull', service: 's' }]],
  ],
  [`Bearer realm=${realm}?a=b&c==, Basic realm=x`, [['bearer', { realm: `${realm}?a=b&c==` }], basic]],
  ['Bearer realm=a"b"', []],
  ['Basic', [['basic', {}]]],
  ['Negotiate, Basic realm="x"', [['negotiate', {}], basic]],
  ['Negotiate YWJj==, Basic realm="x"', [['negotiate', {}], basic]],
  ['Negotiate a/b+c', [['negotiate', {}]]],
  [`Basic realm="x", Bearer realm="${realm}"`, [basic, bearer]],
  [`Bearer realm="${realm}", Basic realm="x", error="a"`, [bearer, ['basic', { realm: 'x', error: 'a' }]]],
  [
    [`Bearer realm="${realm}"`, 'Basic realm="x"'],
    [bearer, basic],
  ],
  ['Basic realm="a \\"b\\" \\\\ c"', [['basic', { realm: 'a "b" \\ c' }]]],
  ['Basic realm="Bearer realm=\\"y\\", x"', [['basic', { realm: 'Bearer realm="y", x' }]]],
  ['Basic realm=""', [['basic', { realm: '' }]]],
  ['Basic realm="x",realm="y"', [basic]],
  // The realm is untrusted and comes out as it is; whether it may be used is not decided here.
  ['Bearer realm="http://127.0.0.2:9/token"', [['bearer', { realm: 'http://127.0.0.2:9/token' }]]],
  ['Bearer realm="https://auth.docker.io@evil/"', [['bearer', { realm: 'https://auth.docker.io@evil/' }]]],
  ['Bearer realm="file:///etc/passwd"', [['bearer', { realm: 'file:///etc/passwd' }]]],
  // Malformed: what was complete before stays.
  [`Bearer realm="${realm}`, []],
  [`Bearer realm="${realm}\\"`, []],
  [`Bearer realm="${realm}", service="x`, []],
  [`Bearer realm="${realm}", service ="x`, []],
  [`Basic realm="x", Bearer realm="${realm}`, [basic]],
  [`Basic realm="x", Bearer realm="${realm}" service="y"`, [basic]],
  [`Basic realm="x", Bearer realm="${realm}"junk`, [basic]],
  [`Basic realm="x", Bearer realm="${realm}", @`, [basic]],
  [`Basic realm="x", Bearer realm="${realm}", service`, [basic, bearer, ['service', {}]]],
  ['Basic realm="x", Bearer Digest realm="y"', [basic]],
  ['Negotiate YWJj==, realm="x"', [['negotiate', {}]]],
  ['realm="x"', []],
  ['="x"', []],
  ['"Bearer" realm="x"', []],
  ['Basic realm=', [['basic', {}]]], // by the grammar, "realm=" is a token68
  [['Bearer realm="x', 'Basic realm="x"'], [basic]],
] as const

for (const [header, expected] of cases) {
  test(`WWW-Authenticate ${JSON.stringify(header)} gives ${expected.length} challenges`, () => {
    assert.deepEqual(parsed(header), expected)
  })
}

test('a parameter may be called as anything', () => {
  const [challenge] = parseChallenges('Bearer __proto__="x", constructor=y')
  assert.deepEqual(
    [...(challenge?.parameters ?? [])],
    [
      ['__proto__', 'x'],
      ['constructor', 'y'],
    ],
  )
})

test('a header beyond 16 KiB is ignored, alone', () => {
  const long = `Bearer realm="${'a'.repeat(16_384 - 15)}"`
  assert.equal(parseChallenges(long).length, 1)
  assert.deepEqual(parseChallenges(`${long} `), [])
  assert.deepEqual(parsed([`Bearer realm="${'a'.repeat(65_536)}"`, 'Basic realm="x"']), [basic])
})

const token = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,8}$/)
const value = fc.string({ unit: fc.constantFrom('a', ' ', ',', '"', '\\', '=', '\t', 'é', ';') })
const challenge = fc.tuple(
  token,
  fc.uniqueArray(fc.tuple(token, value), {
    selector: ([name]) => name.toLowerCase(),
    minLength: 1,
    maxLength: 4,
  }),
)

test('whatever is written is read back, in one header and in several', () => {
  fc.assert(
    fc.property(fc.array(challenge, { maxLength: 4 }), (challenges) => {
      const written = challenges.map(([scheme, parameters]) => {
        const list = parameters.map(([name, text]) => `${name}="${text.replace(/["\\]/g, '\\$&')}"`)
        return `${scheme} ${list.join(', ')}`
      })
      const expected = challenges.map(([scheme, parameters]) => ({
        scheme: scheme.toLowerCase(),
        parameters: new Map(parameters.map(([name, text]) => [name.toLowerCase(), text])),
      }))
      assert.deepEqual(parseChallenges(written), expected)
      assert.deepEqual(parseChallenges(written.join(' , ')), expected)
      // Cut anywhere, the challenges before the last are still there and nothing throws.
      const cut = parseChallenges([...written, 'Bearer realm="unterminated'].join(','))
      assert.deepEqual(cut, expected)
    }),
  )
})

test('any string is read without throwing, into lower-case tokens', () => {
  const unit = fc.constantFrom('Bearer', ' ', ',', '=', '"', '\\', 'a', 'realm="x"', '\t', '/', '@')
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit })), (header) => {
      for (const { scheme, parameters } of parseChallenges(header)) {
        for (const name of [scheme, ...parameters.keys()]) assert.match(name, /^[!#$%&'*+.^_`|~0-9a-z-]+$/)
      }
    }),
    { numRuns: 2000 },
  )
})

test('a hostile header is read at once, at the maximal length too', () => {
  const patterns = [
    '"',
    '\\',
    '\\"',
    ' ',
    '\t,',
    ',',
    '=',
    'a',
    'a ',
    'a,',
    'a =',
    'a=a,',
    'a="',
    'a=""',
    'a_',
    'a__',
    '-',
    '/',
  ]
  for (const pattern of patterns) {
    for (const prefix of [
      '',
      'a',
      'a ',
      'Bearer realm="',
      'Bearer realm=',
      'Bearer realm="x"',
      'Bearer realm="x", ',
    ]) {
      for (const length of [1e5, 65_536, 16_384]) {
        const header = (prefix + pattern.repeat(length)).slice(0, length - 1).concat('@')
        const before = process.threadCpuUsage()
        parseChallenges(header)
        assert.ok(process.threadCpuUsage(before).user < 50_000, `slow on ${length} of ${prefix}${pattern}`)
      }
    }
  }
})
