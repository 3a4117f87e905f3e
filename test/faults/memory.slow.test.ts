import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startLarder } from '../e2e/support/larder-process.ts'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { generatedBlob } from '../support/images.ts'
import { until } from '../support/settle.ts'

const mebibyte = 1024 * 1024
const size = 8 * mebibyte
const fills = { warm: 40, further: 160, atOnce: 4 } as const

test(`${fills.warm + fills.further} fills of 8 MiB, half of them without a length: memory stays as it is`, async (t) => {
  await using hub = await startDockerHub({ auth: 'none', cdn: false })
  // Checks leave so much to be collected that they would hide what is not.
  await using larder = await startLarder({
    upstreams: [{ name: 'docker.io', url: hub.url }],
    environment: { LARDER_CHECK_MEMORY: '0', MIRROR_CACHE_MAX_SIZE: '100MB', MIRROR_CACHE_MIN_FREE: '0B' },
  })
  let made = 0
  let most = 0
  const fill = async (): Promise<void> => {
    made += 1
    const seed = `fill ${made}`
    const blob = await generatedBlob({ size, seed })
    hub.addBlob('library/app', blob)
    using _ = hub.fault({ digest: blob.digest }, made % 2 === 0 ? { contentLength: 'none' } : {})
    const { digest, isComplete } = await pull(`${larder.url}/v2/library/app/blobs/${blob.digest}`)
    assert.deepEqual([digest, isComplete], [blob.digest, true])
    hub.remove('library/app', blob.digest)
    if (made % 10 === 0) most = Math.max(most, await larder.metric('process_resident_memory_bytes'))
  }
  const fillAll = async (count: number): Promise<number> => {
    let left = count
    const worker = async (): Promise<void> => {
      for (; left > 0; ) {
        left -= 1
        await fill()
      }
    }
    await Promise.all(Array.from({ length: fills.atOnce }, worker))
    await larder.settled()
    await until(async () => (await larder.metric('larder_transfer_buffers_bytes')) === 0)
    return larder.metric('process_resident_memory_bytes')
  }
  const before = await fillAll(fills.warm)
  const after = await fillAll(fills.further)
  const megabytes = (bytes: number): string => `${Math.round(bytes / 1e6)} MB`
  t.diagnostic(
    `resident after ${fills.warm}: ${megabytes(before)}, after all: ${megabytes(after)}, most ${megabytes(most)}`,
  )
  assert.ok(after - before < 48 * mebibyte, `${megabytes(after - before)} more`)
})
