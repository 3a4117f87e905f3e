import v8 from 'node:v8'
import { runInNewContext } from 'node:vm'
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads'

/** Of V8: collections that code outlives without running. */
const usualAge = 6
/** Threads hear by it that their process is to hold little memory. */
const leanKey = 'larder-lean'

/**
 * Collects all garbage of this thread now, which takes tens of milliseconds: for the end of a start, of which much is left
 * that nobody needs again. Code that does not run goes as well, to be compiled again when it does, and so do the pages
 * that are empty.
 */
export function collectGarbage(): void {
  // For contexts that are made from now on. It is not taken away again: another thread may be about to make one.
  v8.setFlagsFromString('--expose-gc')
  v8.setFlagsFromString('--bytecode-old-age=1')
  const collect: NodeJS.GCFunction = runInNewContext('gc')
  collect({ type: 'major', execution: 'sync', flavor: 'last-resort' })
  v8.setFlagsFromString(`--bytecode-old-age=${usualAge}`)
}

/** Lets each thread that begins from now on collect what its start has left: for a process that is to hold little memory. */
export function keepThreadsLean(): void {
  setEnvironmentData(leanKey, true)
}

/** For the end of the start of a thread: `collectGarbage`, where its process wants that. It is a third of such a start. */
export function collectIfLean(): void {
  if (getEnvironmentData(leanKey) === true) collectGarbage()
}
