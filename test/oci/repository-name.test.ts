import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { RegistryError } from '../../src/oci/error.ts'
import { isRepositoryName, parseRepositoryName } from '../../src/oci/repository-name.ts'

const valid = [
  'a',
  '0',
  'library/alpine',
  'a/b/c/d/e',
  'a.b_c__d-e---f',
  'my-registry.example/team',
  'a'.repeat(255),
  `a${'/a'.repeat(127)}`,
]
for (const name of valid) {
  test(`${name.slice(0, 40)} is a repository name`, () => assert.equal(parseRepositoryName(name), name))
}

const invalid = [
  '',
  '/',
  'a/',
  '/a',
  'a//b',
  '.',
  '..',
  'a/../b',
  'a/./b',
  '../../etc/passwd',
  '_uploads',
  'a/_b',
  '-a',
  'a-',
  'a.',
  'a_',
  'a..b',
  'a___b',
  'a._b',
  'a-_b',
  'Library/alpine',
  'a b',
  'a%2fb',
  'a\\b',
  'a\0',
  'a\n',
  '\na',
  'a/b\n',
  'café',
  'а', // Cyrillic
  '\u212a', // the Kelvin sign, which lower-cases to k
  'a:latest',
  'a@sha256',
  'localhost:5000/a',
  'a'.repeat(256),
  `a${'/a'.repeat(128)}`,
]
for (const name of invalid) {
  test(`${JSON.stringify(name).slice(0, 40)} is not a repository name`, () => {
    assert.equal(isRepositoryName(name), false)
    assert.throws(() => parseRepositoryName(name), {
      name: 'RegistryError',
      code: 'NAME_INVALID',
      status: 400,
    })
  })
}

const component = fc
  .tuple(
    fc.stringMatching(/^[a-z0-9]{1,5}$/),
    fc.array(fc.tuple(fc.constantFrom('.', '_', '__', '-', '---'), fc.stringMatching(/^[a-z0-9]{1,5}$/)), {
      maxLength: 3,
    }),
  )
  .map(([first, rest]) => first + rest.flat().join(''))

test('whatever the grammar makes is accepted, and refused after any upper-case letter', () => {
  fc.assert(
    fc.property(fc.array(component, { minLength: 1, maxLength: 5 }), fc.nat(), (components, at) => {
      const name = components.join('/')
      assert.equal(parseRepositoryName(name), name)
      const index = at % (name.length + 1)
      assert.equal(isRepositoryName(`${name.slice(0, index)}A${name.slice(index)}`), false)
    }),
  )
})

test('any accepted string is a relative path of plain components', () => {
  const alphabet = fc.constantFrom('a', 'z', '0', '.', '_', '-', '/', 'A', '\n', '%')
  fc.assert(
    fc.property(
      fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: alphabet, maxLength: 12 })),
      (text) => {
        try {
          for (const part of parseRepositoryName(text).split('/')) {
            assert.match(part, /^[a-z0-9._-]+$/)
            assert.doesNotMatch(part, /^[._-]|[._-]$|\.\./)
          }
        } catch (error) {
          assert.ok(error instanceof RegistryError && error.code === 'NAME_INVALID')
        }
      },
    ),
    { numRuns: 2000 },
  )
})

test('a hostile name is refused at once, at the maximal length and below too', () => {
  const patterns = ['a', '-', 'a_', 'a__', 'a-', '/', 'a/', '_', '.']
  for (const pattern of patterns) {
    for (const length of [28, 254, 1e5]) {
      const text = `a${pattern.repeat(length).slice(0, length - 1)}!`
      const before = process.threadCpuUsage()
      assert.throws(() => parseRepositoryName(text), RegistryError)
      assert.ok(process.threadCpuUsage(before).user < 50_000, `slow on ${length} characters of ${pattern}`)
    }
  }
})
