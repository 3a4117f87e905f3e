import { createRequire, syncBuiltinESMExports } from 'node:module'
import { resolve } from 'node:path'
import type { TestContext } from 'node:test'
import { setEnvironmentData, type WorkerOptions } from 'node:worker_threads'
import {
  countsAt,
  type ErrorName,
  errorNumbers,
  type FaultState,
  type Operation,
  operations,
  patchFileSystem,
  slots,
} from './faulty-calls.ts'

export interface DiskFault {
  readonly operation: Operation
  readonly error: ErrorName
  /** The first one of this kind, from now on, that fails; 1 unless set. */
  readonly nth?: number
  /** How many fail from there on; all unless set. */
  readonly times?: number
  /** A failing sync takes what was not synced with it, as some file systems do. */
  readonly losesUnsynced?: boolean
}

/** The key by which threads hear of it. */
export const faultyDiskKey = 'larder-faulty-disk'

const workerThreads: { Worker: typeof import('node:worker_threads').Worker } = createRequire(import.meta.url)(
  'node:worker_threads',
)
let isPatched = false

/**
 * Lets operations on what lies below a folder fail as told, in this thread and in those that it starts from now on. A
 * failing write leaves half of its first piece behind. SQLite asks nobody here: it has its own way to the disk.
 */
export class FaultyDisk {
  readonly #numbers: Int32Array

  private constructor({ shared }: FaultState) {
    this.#numbers = new Int32Array(shared)
  }

  /** One at a time in a process; all is as before when the test ends. Nothing fails yet. */
  static async below(t: Pick<TestContext, 'after'>, folder: string): Promise<FaultyDisk> {
    if (isPatched) throw new Error('there is a faulty disk already')
    isPatched = true
    const shared = new SharedArrayBuffer(4 * (countsAt + operations.length))
    const state: FaultState = { folder: resolve(folder), shared }
    const disk = new FaultyDisk(state)
    disk.heal()
    const restoreFiles = await patchFileSystem(state)
    const restoreThreads = patchThreads(state)
    t.after(() => {
      restoreFiles()
      restoreThreads()
      isPatched = false
    })
    return disk
  }

  /** How often each operation was tried, those that failed among them. */
  get counts(): Readonly<Record<Operation, number>> {
    return Object.fromEntries(
      operations.map((operation, index) => [operation, Atomics.load(this.#numbers, countsAt + index)]),
    ) as Record<Operation, number>
  }

  /** Operations that failed by the fault of now. */
  get failed(): number {
    return Atomics.load(this.#numbers, slots.failed)
  }

  /** Breaks it in this way, and in no other. */
  fail({ operation, error, nth = 1, times, losesUnsynced = false }: DiskFault): void {
    this.heal()
    this.#set('errno', errorNumbers[error])
    this.#set('from', nth)
    this.#set('until', times === undefined ? 2 ** 31 - 1 : nth + times)
    this.#set('loses', Number(losesUnsynced))
    this.#set('matched', 0)
    this.#set('failed', 0)
    this.#set('operation', operations.indexOf(operation))
  }

  /** Nothing fails any more. */
  heal(): void {
    this.#set('operation', -1)
  }

  /** Does `work` while nothing fails, for whoever else uses the disk meanwhile as well. */
  async aside<Value>(work: () => Promise<Value>): Promise<Value> {
    const operation = Atomics.load(this.#numbers, slots.operation)
    this.heal()
    try {
      return await work()
    } finally {
      this.#set('operation', operation)
    }
  }

  #set(slot: keyof typeof slots, value: number): void {
    Atomics.store(this.#numbers, slots[slot], value)
  }
}

/** Threads that begin from now on look at the same disk. */
function patchThreads(state: FaultState): () => void {
  const { Worker } = workerThreads
  const preload = new URL('./faulty-disk-thread.ts', import.meta.url).href
  setEnvironmentData(faultyDiskKey, state as never)
  workerThreads.Worker = class extends Worker {
    constructor(source: string | URL, options: WorkerOptions = {}) {
      super(source, { ...options, execArgv: [...(options.execArgv ?? []), '--import', preload] })
    }
  }
  syncBuiltinESMExports()
  return () => {
    workerThreads.Worker = Worker
    setEnvironmentData(faultyDiskKey)
    syncBuiltinESMExports()
  }
}
