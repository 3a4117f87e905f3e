import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import type { OpenStore } from './blob-store.contract.ts'
import { storedBytes } from './blob-store.contract.ts'
import { assertSameBytes, testBytes } from './files/storage-folder.ts'

const content = testBytes(2_500_000)
const digest = digestOf(content)
const one = { id: 'one', algorithm: 'sha256' } as const
const half = 1_250_001

/** Bytes in pieces of many sizes. */
function piecesOf(bytes: Uint8Array): Uint8Array[] {
  const pieces: Uint8Array[] = []
  for (let at = 0, size = 1; at < bytes.length; at += size, size = (size * 3) % 300_007) {
    pieces.push(bytes.subarray(at, at + size))
  }
  return pieces
}

/** What every `BlobWriter` keeps to. */
export function blobWriterContract(open: OpenStore): void {
  test('what is appended is here when that resolves, and visible once it is sealed', async (t) => {
    const { store } = await open(t)
    await using writer = await store.writers.open(one)
    assert.equal(writer.size, 0)
    await writer.append(piecesOf(content.subarray(0, half)))
    assert.equal(writer.size, half)
    assert.deepEqual(
      (await store.writers.list()).map(({ id, size }) => [id, size]),
      [['one', half]],
    )
    await writer.append([content.subarray(half)])
    assert.equal(await store.stat(digest), undefined)
    const sealed = await writer.seal(digest)
    assert.equal(sealed.size, content.length)
    assert.deepEqual(await store.stat(digest), sealed)
    assertSameBytes((await storedBytes(store, digest)) ?? Buffer.alloc(0), content)
    assert.deepEqual(await store.writers.list(), [])
  })

  test('nothing at all is a blob as well', async (t) => {
    const { store } = await open(t)
    await using writer = await store.writers.open(one)
    await writer.append([])
    await writer.seal(digestOf(new Uint8Array()))
    assert.equal((await storedBytes(store, digestOf(new Uint8Array())))?.length, 0)
  })

  for (const algorithm of ['sha256', 'sha512'] as const) {
    test(`a digest of the other algorithm than ${algorithm}, that it was opened with`, async (t) => {
      const { store } = await open(t)
      await using writer = await store.writers.open({ ...one, algorithm })
      await writer.append([content])
      const other = digestOf(content, algorithm === 'sha256' ? 'sha512' : 'sha256')
      await writer.seal(other)
      assertSameBytes((await storedBytes(store, other)) ?? Buffer.alloc(0), content)
    })
  }

  test('a wrong digest: nothing is published, nothing is lost, and more may come', async (t) => {
    const { store } = await open(t)
    await using writer = await store.writers.open(one)
    await writer.append([content.subarray(0, half)])
    for (const wrong of [digest, digestOf(content, 'sha512')]) {
      await assert.rejects(writer.verify(wrong), { code: 'DIGEST_INVALID' })
      await assert.rejects(writer.seal(wrong), { code: 'DIGEST_INVALID' })
      assert.equal(await store.stat(wrong), undefined)
    }
    await writer.append([content.subarray(half)])
    await writer.seal(digest)
    assertSameBytes((await storedBytes(store, digest)) ?? Buffer.alloc(0), content)
  })

  test('one that rests holds no descriptor, and goes on', async (t) => {
    const { store } = await open(t)
    await using writer = await store.writers.open(one)
    assert.equal(writer.isOpen, true)
    for (const part of [content.subarray(0, half), content.subarray(half)]) {
      await writer.rest()
      await writer.rest()
      assert.equal(writer.isOpen, false)
      await writer.append([part])
    }
    await writer.rest()
    await writer.seal(digest)
    assertSameBytes((await storedBytes(store, digest)) ?? Buffer.alloc(0), content)
  })

  test('what is suspended, or left by another process, is gone on with', async (t) => {
    const { store, reopen } = await open(t)
    const first = await store.writers.open(one)
    await first.append([content.subarray(0, 100)])
    await first.suspend(new Error('later'))
    await first.suspend(new Error('again'))
    await assert.rejects(first.append([content]), /later/)
    const second = await store.writers.open(one)
    assert.equal(second.size, 100)
    await second.append([content.subarray(100, half)])
    await second[Symbol.asyncDispose]()
    const later = await reopen()
    assert.deepEqual(
      (await later.writers.list()).map(({ id, size }) => [id, size]),
      [['one', half]],
    )
    await using third = await later.writers.open(one)
    await third.append([content.subarray(half)])
    await third.seal(digest)
    assertSameBytes((await storedBytes(later, digest)) ?? Buffer.alloc(0), content)
  })

  test('what is discarded or removed is gone; one that is open is neither opened nor removed', async (t) => {
    const { store } = await open(t)
    const writer = await store.writers.open(one)
    await writer.append([content])
    await assert.rejects(store.writers.open(one), /open/)
    await assert.rejects(store.writers.remove('one'), /open/)
    await writer.discard(new Error('unwanted'))
    await writer.discard(new Error('again'))
    await assert.rejects(writer.append([content]), /unwanted/)
    assert.deepEqual(await store.writers.list(), [])
    const other = await store.writers.open(one)
    assert.equal(other.size, 0)
    await other.append([content])
    await other.suspend(new Error('later'))
    await store.writers.remove('one')
    await store.writers.remove('one')
    assert.deepEqual(await store.writers.list(), [])
    for (const id of ['../one', 'a/b', ''])
      await assert.rejects(store.writers.open({ ...one, id }), TypeError)
  })
}
