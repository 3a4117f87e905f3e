import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryCatalog } from '../../../src/storage/memory/memory-catalog.ts'
import { catalogContract } from '../catalog.contract.ts'
import { alpine, anyone, blobOf, repositoryOf } from '../catalog-fixtures.ts'

catalogContract('MemoryCatalog', async () => {
  let opened = new MemoryCatalog()
  return {
    catalog: opened,
    reopen: async () => {
      await opened[Symbol.asyncDispose]()
      opened = new MemoryCatalog(opened.tables)
      return opened
    },
  }
})

test('of many holders those that were confirmed last are looked at, whichever was known first', async () => {
  const catalog = new MemoryCatalog()
  const blob = blobOf('blob')
  await catalog.confirmed(alpine, blob, anyone(10))
  for (let n = 0; n < 20; n += 1) {
    const repository = repositoryOf('docker.io', `library/r${n}`)
    await catalog.confirmed(repository, blob, anyone(100 + n))
    await catalog.refused(repository, 500)
  }
  const isFree = () => catalog.isFree(blob, { at: 10_000, refusedAfter: 900 })
  assert.equal(await isFree(), false)
  await catalog.confirmed(alpine, blob, anyone(1000))
  assert.equal(await isFree(), true)
})
