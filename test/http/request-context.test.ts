/** What a request is, before anything was waited for, and its end, which comes once. */
import assert from 'node:assert/strict'
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { test } from 'node:test'
import { RequestContext } from '../../src/http/request-context.ts'
import { RegistryError } from '../../src/oci/error.ts'

function contextOf(url: string): RequestContext {
  const request = Object.assign(new IncomingMessage(new Socket()), { url, method: 'GET' })
  return new RequestContext(request, new ServerResponse(request))
}

test('whoever comes late hears that the client has left, as well as who asked before', () => {
  const context = contextOf('/v2/app/manifests/1')
  const early = context.signal
  assert.equal(early.aborted, false)
  assert.equal(context.end(), true)
  assert.equal(early.aborted, true)
  const other = contextOf('/v2/app/manifests/1')
  other.end()
  assert.equal(other.signal.aborted, true, 'asked for after the end')
})

test('the end comes once, and says what was said first', () => {
  const context = contextOf('/v2/')
  context.breakOff(new Error('the disk failed'))
  context.breakOff(new Error('and then more'))
  assert.deepEqual([context.end(), context.end()], [true, false])
  assert.deepEqual([context.ending, context.reason, context.status], ['broken', 'the disk failed', 499])
})

test('its URL is read when it begins, whether it can be read or not', () => {
  const read = contextOf('/ghcr.io/v2/owner/app/blobs/uploads/some-id?digest=x')
  assert.deepEqual([read.isForRegistry, read.kind, read.url.prefix], [true, 'upload', 'ghcr.io'])
  assert.deepEqual(read.url.target, { kind: 'upload', name: 'owner/app', id: 'some-id' })
  assert.equal(read.url, read.url)
  const unreadable = contextOf('/v2/app/manifests/%00')
  assert.deepEqual([unreadable.isForRegistry, unreadable.kind], [true, 'unknown'])
  assert.throws(() => unreadable.url, RegistryError)
  const other = contextOf('/metrics')
  assert.equal(other.isForRegistry, false)
  assert.throws(() => other.url, TypeError)
})
