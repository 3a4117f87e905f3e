import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseDemoOptions } from '../../benchmarks/demo/options.ts'
import { parseWrk } from '../../benchmarks/support/load.ts'
import { withResults, withSection } from '../../benchmarks/support/report.ts'

test('the figures of wrk are read, with everything that went wrong', () => {
  const output = `Running 2s test @ http://127.0.0.1:5000/
  1 threads and 4 connections
  Socket errors: connect 0, read 2, write 0, timeout 1
  24680 requests in 2.10s, 5.51MB read
  Non-2xx or 3xx responses: 7
Requests/sec:  11752.38`
  assert.deepEqual(parseWrk(output), { requests: 24_680, seconds: 2.1, bytes: 0, failures: 10 })
  assert.throws(() => parseWrk('unable to connect'), /unable to connect/)
})

test('results replace those of the last time, and nothing else', () => {
  const start = '<!-- results: written by npm run bench -- --write -->'
  const text = `# Title\n${start}\nold\n<!-- end of results -->\nend\n`
  const written = withResults(text, 'new')
  assert.equal(written, `# Title\n${start}\n\nnew\n\n<!-- end of results -->\nend\n`)
  assert.equal(withResults(written, 'new'), written)
  assert.throws(() => withResults('# Title\n', 'new'), /no place for results/)
  assert.throws(() => withResults(text, 'new', 'npm run bench:catalog'), /no place for results/)
})

test('what was measured anew takes the place of the same section, or comes last; the others stay', () => {
  const start = '<!-- results: written by npm run bench -- --write -->'
  const end = '<!-- end of results -->\n### not a result\n'
  const text = `${start}\n\n### one\n\nold\n\n### two\n\nkept\n\n${end}`
  const written = withSection(text, '### one\n\nnew')
  assert.equal(written, `${start}\n\n### one\n\nnew\n\n### two\n\nkept\n\n${end}`)
  assert.equal(withSection(written, '### three'), written.replace('kept\n', 'kept\n\n### three\n'))
  assert.equal(withSection(`${start}\n${end}`, '### one'), `${start}\n\n### one\n\n${end}`)
})

test('the demo takes sizes and rates as the configuration does, and tells what is wrong', () => {
  assert.deepEqual(parseDemoOptions([]), {
    size: 50_000_000,
    machines: 8,
    bytesPerSecond: 2_500_000,
    roundTripMs: 100,
  })
  assert.equal(parseDemoOptions(['--help']), undefined)
  assert.throws(
    () => parseDemoOptions(['--clients', '0']),
    /--clients: expected a number from 1 to 64; got 0/,
  )
  assert.throws(() => parseDemoOptions(['--rate', 'off']), /--rate/)
  assert.throws(() => parseDemoOptions(['--size', '1kB']), /--size/)
})
