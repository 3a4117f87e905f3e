import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { DocumentReader, type DocumentReaderOptions } from '../../src/oci/document-reader.ts'
import { RegistryError } from '../../src/oci/error.ts'
import { parseManifest } from '../../src/oci/manifest.ts'
import { until } from '../support/settle.ts'

const type = 'application/vnd.oci.image.manifest.v1+json'

function manifestOf(layerCount: number): Buffer {
  const layers = Array.from({ length: layerCount }, (_, index) => ({
    mediaType: 'application/x',
    digest: digestOf(Buffer.from(`${index}`)),
    size: index,
  }))
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: type, config: layers[0], layers }))
}

const small = manifestOf(10)
const large = manifestOf(33_000)

function readerOf(t: TestContext, options?: DocumentReaderOptions): DocumentReader {
  const reader = new DocumentReader(options)
  t.after(() => reader[Symbol.asyncDispose]())
  return reader
}

function threads(): number {
  const { workers } = process.report.getReport() as unknown as { workers: readonly unknown[] }
  return workers.length
}

for (const [size, bytes] of Object.entries({ small, large })) {
  test(`a ${size} document is read as its reader reads it`, async (t) => {
    const reader = readerOf(t)
    assert.deepEqual(await reader.read('manifest', bytes, type), parseManifest(bytes, type))
    const [digest, other] = [digestOf(bytes), digestOf(Buffer.from('other'))]
    const claimed = await reader.read('claimed', bytes, type, [digest])
    assert.deepEqual(claimed, { digest, mediaType: type, parsed: parseManifest(bytes, type) })
    assert.deepEqual(await reader.read('claimed', bytes, type, [digest, other]), {
      wrong: other,
      found: digest,
    })
  })

  test(`what is wrong with a ${size} document is told as its reader tells it`, async (t) => {
    const reader = readerOf(t)
    const broken = Buffer.concat([bytes, Buffer.from('}')])
    const failures = [
      await reader.read('manifest', broken, type).catch((error: unknown) => error),
      (() => {
        try {
          return parseManifest(broken, type)
        } catch (error) {
          return error
        }
      })(),
    ]
    for (const failure of failures) {
      assert.ok(failure instanceof RegistryError)
      const { code, status, message } = failure
      assert.deepEqual(
        [code, status, message],
        ['MANIFEST_INVALID', 400, 'The manifest is not JSON in UTF-8'],
      )
    }
    assert.ok(await reader.read('manifest', bytes, type), 'the next one is read')
  })
}

test('ten manifests of 33,000 layers hold up nobody', async (t) => {
  const reader = readerOf(t)
  let turns = 0
  let isOver = false
  const count = (): void => {
    turns += 1
    if (!isOver) setImmediate(count)
  }
  setImmediate(count)
  await Promise.all(Array.from({ length: 10 }, () => reader.read('manifest', large, type)))
  isOver = true
  // Read here, they would be one turn of the event loop: each begins as soon as the last has ended.
  assert.ok(turns > 100, `${turns} turns of the event loop`)
})

test('the thread is there while it is needed, and not for small documents', async (t) => {
  const before = threads()
  const reader = readerOf(t, { idleMs: 1 })
  await reader.read('manifest', small, type)
  assert.equal(threads(), before)
  const lasting = readerOf(t)
  await lasting.read('manifest', large, type)
  assert.equal(threads(), before + 1)
  await lasting[Symbol.asyncDispose]()
  await reader.read('manifest', large, type)
  await until(() => threads() === before)
  await reader.read('manifest', large, type)
})

test('a thread that ends fails the document that it was at, and the next one gets another', async (t) => {
  const reader = readerOf(t)
  const failing = reader.read('claimed', large, type, null as never)
  await assert.rejects(failing, TypeError)
  assert.ok(await reader.read('manifest', large, type))
})

test('disposal gives up what is being read and what waits', async () => {
  const reader = new DocumentReader()
  const reading = [1, 2].map(() => reader.read('manifest', large, type))
  const outcomes = Promise.allSettled(reading)
  await new Promise(setImmediate)
  await reader[Symbol.asyncDispose]()
  for (const { status } of await outcomes) assert.equal(status, 'rejected')
  await assert.rejects(reader.read('manifest', large, type), /stopping/)
})
