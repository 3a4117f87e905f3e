// Neighbours thought of: the edges of each range of statuses; a failure of storage, which keeps what it is but for the
// circuit; a blob of which bytes came before.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  elsewhere,
  failureOfStatus,
  UpstreamError,
  type UpstreamErrorCode,
} from '../../src/upstream/error.ts'

test('what a status means: an answer, an outage, or something odd that HEAD may get alone', () => {
  const [missing, withheld, outage, odd] = [
    (error: UpstreamError) => error.isMissing,
    (error: UpstreamError) => error.isWithheld,
    (error: UpstreamError) => error.isOutage,
    (error: UpstreamError) => error.isOdd,
  ]
  const of = (status: number) => {
    const error = failureOfStatus('docker.io', status)
    return { code: error.code, is: [missing, withheld, outage, odd].map((what) => what(error)) }
  }
  assert.deepEqual(of(401), { code: 'UNAUTHORIZED', is: [false, true, false, false] })
  assert.deepEqual(of(403), { code: 'FORBIDDEN', is: [false, true, false, false] })
  assert.deepEqual(of(404), { code: 'NOT_FOUND', is: [true, false, false, false] })
  for (const status of [500, 502, 503, 504, 511, 599])
    assert.deepEqual(of(status), { code: 'SERVER_ERROR', is: [false, false, true, true] }, String(status))
  // 501: it does not know the question, and is not out of order.
  for (const status of [302, 400, 405, 410, 499, 501])
    assert.deepEqual(
      of(status),
      { code: 'INVALID_RESPONSE', is: [false, false, false, true] },
      String(status),
    )
})

test('what is tried again: small questions, blobs, and the rest of a blob', () => {
  const codes = (holds: (error: UpstreamError) => boolean) => {
    const all = [
      'UNREACHABLE',
      'SERVER_ERROR',
      'TIMED_OUT',
      'CIRCUIT_OPEN',
      'RATE_LIMITED',
      'NOT_FOUND',
      'REFUSED',
    ]
    return all.filter((code) => holds(new UpstreamError(code as UpstreamErrorCode, 'docker.io', 'failed')))
  }
  assert.deepEqual(
    codes((error) => error.isWorthRepeating),
    ['UNREACHABLE', 'SERVER_ERROR'],
  )
  assert.deepEqual(
    codes((error) => !error.isFinal(false)),
    ['UNREACHABLE', 'SERVER_ERROR', 'TIMED_OUT'],
  )
  assert.deepEqual(
    codes((error) => error.isFinal(true)),
    ['REFUSED'],
  )
})

test('storage that is not there says nothing of the registry that redirects to it', () => {
  const own = new UpstreamError('UNREACHABLE', 'docker.io', 'refused')
  const other = elsewhere(own, new URL('https://cdn.example/blob'))
  assert.deepEqual([own.opensCircuit, other.opensCircuit, other.isOutage], [true, false, true])
})
