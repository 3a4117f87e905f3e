import assert from 'node:assert/strict'
import { test } from 'node:test'
import { transferMemory } from '../../src/app/transfer-memory.ts'
import { loadConfig } from '../../src/config/load.ts'
import { scratchFolder } from '../e2e/support/scratch-folder.ts'

const checked = { LARDER_CHECK_MEMORY: '1' }

for (const kind of ['pieces', 'pool'] as const) {
  test(`${kind}: checked, what is released is overwritten, and closing fails where something never was`, async () => {
    const building = new AsyncDisposableStack()
    const memory = transferMemory(checked, building)[kind]
    const [forgotten, released] = [memory.acquire(1000), memory.acquire(1000)]
    const { bytes } = released
    bytes.fill(1)
    released.release()
    assert.deepEqual([...new Set(bytes)], [0xdd])
    await assert.rejects(building.disposeAsync(), (error: AggregateError) => {
      assert.match(error.message, /^1 holds of bytes were never released$/)
      // It says where.
      assert.match(String(error.errors[0]?.message), /transfer-memory\.test\.ts/)
      return true
    })
    forgotten.release()
  })

  test(`${kind}: checked, what is released while it closes was not forgotten`, async () => {
    const building = new AsyncDisposableStack()
    const memory = transferMemory(checked, building)[kind].acquire(1000)
    const closing = building.disposeAsync()
    setImmediate(() => memory.release())
    await closing
  })

  test(`${kind}: otherwise nothing is overwritten nor told`, async () => {
    const building = new AsyncDisposableStack()
    const memory = transferMemory({}, building)[kind]
    memory.acquire(1000)
    const released = memory.acquire(1000)
    const { bytes } = released
    bytes.fill(1)
    released.release()
    assert.deepEqual([...new Set(bytes)], [1])
    await building.disposeAsync()
  })
}

test('the variable is no setting, known or unknown', async () => {
  await using folder = await scratchFolder()
  const where = { workingDirectory: folder.path }
  const [without, loaded] = [
    await loadConfig({ environment: {}, ...where }),
    await loadConfig({ environment: checked, ...where }),
  ]
  assert.deepEqual([loaded.config, loaded.warnings], [without.config, without.warnings])
})
