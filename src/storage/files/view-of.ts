import { asStorageError, StorageError } from '../error.ts'
import type { PartialView } from '../partial.ts'
import type { ReadonlyRanges } from '../ranges.ts'
import type { SharedFile } from './shared-file.ts'

/** A way to read what is present of the partial `id`; takes over one hold of its file. */
export function viewOf(id: string, file: SharedFile, present: ReadonlyRanges): PartialView {
  return {
    async read(buffer, position) {
      const wanted = Math.min(present.presentUntil(position) - position, buffer.length)
      if (wanted === 0) return 0
      const reading = file.handle.read(buffer, 0, wanted, position)
      const { bytesRead } = await asStorageError(`partial ${id} could not be read`, reading)
      if (bytesRead > 0) return bytesRead
      throw new StorageError('BROKEN', `partial ${id} became shorter while it was read`)
    },
    [Symbol.asyncDispose]: () => file.release(),
  }
}
