/**
 * The worker thread that writes the catalog: an fsync may take 100 ms on an SD card, and nothing else may wait
 * for it. Verbs that queue up while one is being synced are committed together. Its first message says
 * that it is ready, each later one is a `WriterReply`.
 */
import { parentPort, workerData } from 'node:worker_threads'
import type { CatalogVerbs } from '../catalog.ts'
import { StorageError } from '../error.ts'
import { FilesInPlace } from './files-in-place.ts'
import { migrate } from './migrations/migrate.ts'
import { openDatabase } from './open-database.ts'
import { salvage } from './salvage.ts'
import { isDamage, isRefusedValue } from './sqlite-errors.ts'
import { Statements } from './statements.ts'
import { sqliteVerbs } from './verbs.ts'
import type { WriterData, WriterReply, WriterRequest } from './writer-thread.ts'

type Asked = NonNullable<WriterRequest>

const port = parentPort
if (!port) throw new TypeError('catalog-writer.ts runs in a worker thread')

const { path, damagedPath } = workerData as WriterData
const database = openDatabase(path)
if (damagedPath !== undefined) {
  migrate(database)
  salvage(database, damagedPath)
}
const statements = new Statements(database)
const files = new FilesInPlace(path)
let queue: Asked[] = []
/** Why nothing is written any more: the file is damaged, and what was added to it would be lost with it. */
let damage: unknown

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
    if (damage) throw damage
    files.assertThere()
    database.exec('BEGIN IMMEDIATE')
    const replies = batch.map(runVerb)
    database.exec('COMMIT')
    files.committed()
    for (const reply of replies) port?.postMessage(reply)
  } catch (error) {
    if (isDamage(error)) damage = error
    rollBack()
    for (const { id } of batch) port?.postMessage(failed(id, error))
  }
}

/** Runs one verb of the batch; where it fails the others stand, unless the file is damaged. */
function runVerb({ id, verb, parameters }: Asked): WriterReply {
  database.exec('SAVEPOINT one')
  try {
    const run = sqliteVerbs[verb] as (statements: Statements, ...parameters: unknown[]) => unknown
    const result = run(statements, ...parameters) as Awaited<ReturnType<CatalogVerbs[typeof verb]>>
    database.exec('RELEASE one')
    return { id, result }
  } catch (error) {
    // SQLite gives the whole transaction up by itself where the disk is full.
    if (isDamage(error) || !database.isTransaction) throw error
    database.exec('ROLLBACK TO one; RELEASE one')
    return failed(id, error)
  }
}

function rollBack(): void {
  try {
    if (database.isTransaction) database.exec('ROLLBACK')
  } catch (error) {
    if (!isDamage(error)) throw error
  }
}

/** Of an error only its text crosses to the other thread; what the caller may tell it by goes beside. */
function failed(id: number, error: unknown): WriterReply {
  const message = error instanceof Error ? error.message : String(error)
  if (isDamage(error)) return { id, error: { code: 'CORRUPT', message } }
  const storage = isRefusedValue(error) ? undefined : StorageError.from(error, '')
  return { id, error: { code: storage instanceof StorageError ? storage.code : undefined, message } }
}
