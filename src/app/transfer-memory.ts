import { setImmediate as turnOfTheLoop } from 'node:timers/promises'
import { Pieces } from '../flow/pieces.ts'
import { BufferPool } from '../http/buffer-pool.ts'

/** Bytes that all transfers to clients together hold, before later ones get small buffers only. */
const buffers = 8 * 1024 * 1024
/** Milliseconds after which what is held still was forgotten: an answer whose client has left may read from the disk meanwhile. */
const settleMs = 5000

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
  const pool = building.use(new BufferPool(buffers, { isChecked }))
  if (isChecked) building.defer(() => settled({ pieces, pool }))
  return { pieces, pool }
}

/** Resolves when all of it is released, or when that takes too long. */
async function settled({ pieces, pool }: { pieces: Pieces; pool: BufferPool }): Promise<void> {
  const end = performance.now() + settleMs
  while (pieces.inUse + pool.inUse > 0 && performance.now() < end) await turnOfTheLoop()
}
