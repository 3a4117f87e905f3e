import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  formatDuration,
  formatRate,
  formatSize,
  parseDuration,
  parseRate,
  parseSize,
  parseSizeOrPercentage,
} from '../../src/units/notation.ts'
import { UnitError } from '../../src/units/unit-error.ts'

function refuses(parse: () => unknown, message: string): void {
  assert.throws(parse, (error) => error instanceof UnitError && error.message === message)
}

test('sizes are bytes, decimal and binary', () => {
  const sizes = {
    '50GB': 50e9,
    '512MiB': 536_870_912,
    '1.5GB': 1.5e9,
    '10 kB': 10_000,
    '1tb': 1e12,
    '7B': 7,
    '4096': 4096,
    '0': 0,
  }
  for (const [text, bytes] of Object.entries(sizes)) assert.equal(parseSize(text), bytes, text)
  assert.equal(parseSize(4096), 4096)
})

test('durations are milliseconds, a plain number seconds', () => {
  const durations = {
    '30s': 30_000,
    '15m': 900_000,
    '24h': 86_400_000,
    '7d': 604_800_000,
    '2w': 1_209_600_000,
    '1h30m': 5_400_000,
    '5 m': 300_000,
    '1 h30 m': 5_400_000,
    '500ms': 500,
    '1.5h': 5_400_000,
    '1m500ms': 60_500,
    '90': 90_000,
    '0': 0,
  }
  for (const [text, milliseconds] of Object.entries(durations))
    assert.equal(parseDuration(text), milliseconds, text)
  assert.equal(parseDuration(0.5), 500)
})

test('rates are bytes a second; a bit is an eighth of a byte', () => {
  const rates = { '10MB/s': 10e6, '8Mbit/s': 1e6, '512 KiB/s': 524_288, '64kbit/s': 8000, '1000': 1000 }
  for (const [text, rate] of Object.entries(rates)) assert.equal(parseRate(text), rate, text)
  for (const none of ['off', '0', 0, false, '0MB/s'] as const) assert.equal(parseRate(none), undefined)
})

test('a share of the disk is above 0 and at most 100 percent', () => {
  assert.deepEqual(parseSizeOrPercentage('80%'), { percent: 80 })
  assert.deepEqual(parseSizeOrPercentage('12.5 %'), { percent: 12.5 })
  assert.equal(parseSizeOrPercentage('80MB'), 80e6)
  refuses(() => parseSizeOrPercentage('0%'), 'expected a share above 0% and at most 100%; got "0%"')
  refuses(() => parseSizeOrPercentage('101%'), 'expected a share above 0% and at most 100%; got "101%"')
  refuses(() => parseSize('80%'), 'expected a size such as 50GB or 512MiB; got "80%"')
})

test('what is no unit is refused with what was expected', () => {
  refuses(() => parseDuration('6 hours'), 'expected a duration such as 6h; got "6 hours"')
  refuses(() => parseDuration('30m1h'), 'expected a duration such as 6h; got "30m1h"')
  refuses(() => parseDuration(''), 'expected a duration such as 6h; got ""')
  refuses(() => parseDuration(-1), 'expected a duration such as 6h; got -1')
  refuses(() => parseDuration(Number.NaN), 'expected a duration such as 6h; got NaN')
  refuses(() => parseDuration('99999999999999999w'), '"99999999999999999w" is too large')
  refuses(
    () => parseSize('50G'),
    'expected a size such as 50GB or 512MiB; got "50G": write 50GB (decimal) or 50GiB (binary)',
  )
  refuses(() => parseRate('8Mb/s'), 'expected a rate such as 10MB/s or 8Mbit/s, or off; got "8Mb/s"')
  refuses(() => parseRate('1bit/s'), '"1bit/s" is less than one byte a second: write off for no limit')
})

test('sizes, durations and rates survive being written down', () => {
  const whole = fc.oneof(
    fc.maxSafeNat(),
    fc
      .tuple(fc.nat(999), fc.constantFrom(1, 1000, 1024, 60_000, 2 ** 30, 1e9, 86_400_000))
      .map(([n, unit]) => n * unit),
  )
  fc.assert(fc.property(whole, (bytes) => parseSize(formatSize(bytes)) === bytes))
  fc.assert(
    fc.property(whole, (milliseconds) => parseDuration(formatDuration(milliseconds)) === milliseconds),
  )
  fc.assert(fc.property(whole, (rate) => rate === 0 || parseRate(formatRate(rate)) === rate))
  assert.equal(formatRate(undefined), 'off')
  assert.equal(formatDuration(Number.POSITIVE_INFINITY), 'never')
})

test('what is written down is what a person would write', () => {
  assert.deepEqual([50e9, 2 ** 29, 1500, 0].map(formatSize), ['50GB', '512MiB', '1500B', '0B'])
  const day = 86_400_000
  assert.deepEqual([30_000, 5_400_000, 30 * day, 0].map(formatDuration), ['30s', '1h30m', '30d', '0s'])
})

test('any text is a number of the unit or a UnitError, at once', () => {
  const almost = fc
    .array(
      fc.constantFrom(
        '1',
        '9',
        '.',
        '0'.repeat(30),
        's',
        'm',
        'ms',
        'h',
        'GB',
        'iB',
        'bit',
        '/s',
        '%',
        ' ',
        '-',
        'e',
      ),
    )
    .map((parts) => parts.join(''))
  const input = fc.oneof(fc.string(), almost, fc.double(), fc.integer())
  for (const parse of [parseSize, parseDuration, parseRate]) {
    fc.assert(
      fc.property(input, (text) => {
        try {
          const value = parse(text)
          assert.ok(value === undefined || (Number.isSafeInteger(value) && value >= 0))
        } catch (error) {
          assert.ok(error instanceof UnitError)
        }
      }),
      { numRuns: 1000 },
    )
  }
  assert.throws(() => parseDuration('1'.repeat(1_000_000)), UnitError)
})
