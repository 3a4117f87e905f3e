import { MemoryBlobStore } from '../../../src/storage/memory/memory-blob-store.ts'
import { blobStoreContract } from '../blob-store.contract.ts'

blobStoreContract('MemoryBlobStore', async () => {
  let store = new MemoryBlobStore()
  return {
    store,
    reopen: async () => {
      await store[Symbol.asyncDispose]()
      store = store.afterCrash({ kind: 'killed', keeps: () => true })
      return store
    },
  }
})
