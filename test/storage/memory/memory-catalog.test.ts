import { MemoryCatalog } from '../../../src/storage/memory/memory-catalog.ts'
import { catalogContract } from '../catalog.contract.ts'

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
