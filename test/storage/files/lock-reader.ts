/**
 * A worker that is reading who holds the lock, as a process does that was refused it, until it sees that another
 * one waits for it to end.
 */
import { DatabaseSync } from 'node:sqlite'
import { parentPort, workerData } from 'node:worker_threads'

const reading = new DatabaseSync(workerData.path, { timeout: 0 })
reading.exec('BEGIN; SELECT process FROM holder')
parentPort?.postMessage('reading')
const another = new DatabaseSync(workerData.path, { timeout: 0 })
for (let isAwaited = false; !isAwaited; ) {
  try {
    another.prepare('SELECT process FROM holder').all()
  } catch {
    // New readers are refused while a writer waits for the old ones.
    isAwaited = true
  }
}
another.close()
reading.close()
