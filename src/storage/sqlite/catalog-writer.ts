/**
 * The worker thread that writes the catalog: an fsync may take 100 ms on an SD card, and nothing else may wait
 * for it. Transactions that queue up while one is being synced are committed together. Its first message says
 * that it is ready, each later one is a `WriterReply`.
 */
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { parentPort, workerData } from 'node:worker_threads'
import { type CatalogWrite, writeStatements } from './catalog-statements.ts'

/** What the main thread sends: a transaction, or undefined to end the worker. */
export type WriterRequest = { id: number; writes: readonly CatalogWrite[] } | undefined

/** What it gets back for each transaction, after the commit. */
export interface WriterReply {
  readonly id: number
  readonly error?: string
}

const port = parentPort
if (!port) throw new TypeError('catalog-writer.ts runs in a worker thread')

const database = new DatabaseSync(workerData.path, { timeout: 10_000 })
database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON')
const prepared = new Map<string, StatementSync>()
let queue: NonNullable<WriterRequest>[] = []

port.on('message', (request: WriterRequest) => {
  if (!request) {
    commitQueued()
    database.close()
    port.close()
    return
  }
  if (queue.length === 0) setImmediate(commitQueued)
  queue.push(request)
})

port.postMessage('ready')

function commitQueued(): void {
  const batch = queue
  queue = []
  if (batch.length === 0) return
  try {
    database.exec('BEGIN IMMEDIATE')
    const replies = batch.map(runTransaction)
    database.exec('COMMIT')
    for (const reply of replies) port?.postMessage(reply)
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK')
    for (const { id } of batch) port?.postMessage({ id, error: messageOf(error) } satisfies WriterReply)
  }
}

/** Runs one transaction of the batch; where it fails the others stand. */
function runTransaction({ id, writes }: NonNullable<WriterRequest>): WriterReply {
  database.exec('SAVEPOINT one')
  try {
    for (const { statement, parameters } of writes) {
      const ready = prepared.get(statement) ?? database.prepare(writeStatements[statement])
      prepared.set(statement, ready)
      ready.run(...parameters)
    }
    database.exec('RELEASE one')
    return { id }
  } catch (error) {
    database.exec('ROLLBACK TO one; RELEASE one')
    return { id, error: messageOf(error) }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
