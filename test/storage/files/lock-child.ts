/** Runs in a process of its own: locks the folder of its first parameter, tells how that went, and keeps it. */
import { once } from 'node:events'
import { lockDirectory } from '../../../src/storage/files/directory-lock.ts'

async function lockAndTell(folder: string): Promise<void> {
  try {
    using _lock = await lockDirectory(folder)
    process.send?.('locked')
    await once(process, 'message')
  } catch (error) {
    process.send?.((error as NodeJS.ErrnoException).code ?? String(error))
  }
  process.disconnect()
}

await lockAndTell(process.argv[2] ?? '')
