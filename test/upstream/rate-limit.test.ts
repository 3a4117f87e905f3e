import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseRateLimit, parseRetryAfter } from '../../src/upstream/rate-limit.ts'

const now = Date.UTC(2026, 0, 31, 12)

const waits: readonly [header: unknown, seconds: number][] = [
  ['120', 120],
  [' 120 ', 120],
  ['1', 1],
  ['0', 1],
  ['3600', 3600],
  ['3601', 3600],
  ['999999999999999', 3600],
  ['99999999999999999999999', 3600],
  [new Date(now + 90_000).toUTCString(), 90],
  [new Date(now + 90_500).toUTCString(), 90],
  [new Date(now - 1000).toUTCString(), 1],
  ['Fri, 31 Dec 9999 23:59:59 GMT', 3600],
  ['Saturday, 31-Jan-26 12:02:00 GMT', 120],
  [undefined, 60],
  ['', 60],
  ['soon', 60],
  ['soon 5', 60],
  ['-5', 60],
  ['1.5', 60],
  ['1e3', 60],
  ['0x10', 60],
  ['NaN', 60],
  ['Infinity', 60],
  ['120, 240', 60],
  [['120'], 60],
  [120, 60],
]

for (const [header, seconds] of waits) {
  test(`Retry-After ${JSON.stringify(header)} makes us wait ${seconds} s`, () => {
    assert.equal(parseRetryAfter(header, now), seconds)
  })
}

test('whatever Retry-After says, we wait for a second at least and an hour at most', () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string(), fc.float().map(String), fc.integer().map(String), fc.anything()),
      (header) => {
        const seconds = parseRetryAfter(header)
        assert.ok(Number.isInteger(seconds) && seconds >= 1 && seconds <= 3600)
      },
    ),
    { numRuns: 2000 },
  )
})

test('a quota is read with its window', () => {
  const headers = { 'ratelimit-limit': '100;w=21600', 'ratelimit-remaining': '76;w=21600' }
  assert.deepEqual(parseRateLimit(headers), { limit: 100, remaining: 76, windowSeconds: 21_600 })
})

test('one half of a quota is enough, with or without a window', () => {
  const none = { limit: undefined, remaining: undefined, windowSeconds: undefined }
  assert.deepEqual(parseRateLimit({ 'ratelimit-limit': '100' }), { ...none, limit: 100 })
  assert.deepEqual(parseRateLimit({ 'ratelimit-remaining': '0;w=60' }), {
    ...none,
    remaining: 0,
    windowSeconds: 60,
  })
})

for (const value of [
  undefined,
  '',
  'x',
  '-1',
  '1.5',
  '1;w=',
  '1;w=x',
  '100;w=21600;x',
  '1'.repeat(13),
  ['1'],
]) {
  test(`no quota comes of ${JSON.stringify(value)}`, () => {
    assert.equal(parseRateLimit({ 'ratelimit-limit': value, 'ratelimit-remaining': value }), undefined)
  })
}
