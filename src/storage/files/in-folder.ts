import { mkdir } from 'node:fs/promises'
import { fileErrorCode } from './file-errors.ts'

/** Does `work` in a folder, which is made again where somebody has removed it. Throws what `work` and the file system throw. */
export async function inFolder<Value>(folder: string, work: () => Promise<Value>): Promise<Value> {
  try {
    return await work()
  } catch (error) {
    if (fileErrorCode(error) !== 'ENOENT') throw error
    await mkdir(folder, { recursive: true })
    return work()
  }
}
