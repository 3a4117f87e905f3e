import { Pieces } from '../flow/pieces.ts'
import { BufferPool } from '../http/buffer-pool.ts'

/** Bytes that all transfers to clients together hold, before later ones get small buffers only. */
const buffers = 8 * 1024 * 1024

/**
 * The memory of bytes on their way: pieces of what comes in, buffers of what is read for clients. `LARDER_CHECK_MEMORY=1`:
 * what is released is overwritten, and closing the mirror fails where something never was.
 */
export function transferMemory(
  environment: NodeJS.ProcessEnv,
  building: AsyncDisposableStack,
): { pieces: Pieces; pool: BufferPool } {
  const isChecked = environment.LARDER_CHECK_MEMORY === '1'
  const pieces = building.use(new Pieces({ isChecked }))
  return { pieces, pool: building.use(new BufferPool(buffers, { isChecked })) }
}
