import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Bytes in use after a collection. */
export function heapUsed(): number {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  return process.memoryUsage().heapUsed
}

/** Bytes of the heap that are kept after many have asked for something and left at once; `ask` rejects when they do. */
export async function keptByThoseWhoLeave(ask: (signal: AbortSignal) => Promise<unknown>): Promise<number> {
  const leave = async (count: number): Promise<void> => {
    for (let index = 0; index < count; index += 1) {
      const leaving = new AbortController()
      const left = ask(leaving.signal)
      leaving.abort()
      await left.catch(() => {})
    }
  }
  // What is made once is not meant.
  await leave(1000)
  const before = heapUsed()
  await leave(20_000)
  return heapUsed() - before
}
