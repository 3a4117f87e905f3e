/**
 * The worker thread that writes the catalog: an fsync may take 100 ms on an SD card, and nothing else may wait
 * for it. Verbs that queue up while one is being synced are committed together; what only has to survive the process
 * is not synced alone. Its first message, of how much is stored, says that it is ready; the replies follow.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { collectIfLean } from '../../flow/collect-garbage.ts'
import type { CatalogVerbs } from '../catalog.ts'
import { StorageError } from '../error.ts'
import { Reserve } from '../reserve.ts'
import { checkpointIfRoom } from './checkpoint.ts'
import { FilesInPlace } from './files-in-place.ts'
import { ForeignFile, OwnGeneration } from './generation.ts'
import { migrate } from './migrations/migrate.ts'
import { openDatabase } from './open-database.ts'
import type { FoundJournal } from './pushed/open-both.ts'
import { PushedJournal } from './pushed/pushed-journal.ts'
import { salvage } from './salvage.ts'
import { isDamage, isFull, isRefusedValue } from './sqlite-errors.ts'
import { Statements } from './statements.ts'
import { StoredTotals } from './stored-totals.ts'
import { sqliteVerbs } from './verbs.ts'
import type { WriterData, WriterMessage, WriterReply, WriterRequest } from './writer-thread.ts'

type Asked = NonNullable<WriterRequest>

const port = parentPort
if (!port) throw new TypeError('catalog-writer.ts runs in a worker thread')

/** What makes room: on a full disk the reserve is given up for it. What only ends an upload can wait. */
const freeing: ReadonlySet<keyof CatalogVerbs> = new Set([
  'deleteTag',
  'deleteManifest',
  'deleteBlob',
  'letGo',
  'evict',
  'removed',
])
/** What takes room: not before the reserve is there again. */
const filling: ReadonlySet<keyof CatalogVerbs> = new Set([
  'pulled',
  'confirmed',
  'saveReferrers',
  'sealed',
  'pushed',
  'mount',
  'putManifest',
  'adopt',
  'beginUpload',
])
/** Milliseconds between two looks whether there is room for the reserve. */
const reserveEveryMs = 1000

const { path, damagedPath, pushedPath, reserve: shared } = workerData as WriterData
const database = openDatabase(path)
if (damagedPath !== undefined) {
  migrate(database)
  salvage(database, damagedPath)
}
const statements = new Statements(database)
const totals = new StoredTotals(database)
const files = new FilesInPlace(path)
const generation = new OwnGeneration(database, path)
/** Why nothing is written any more: the file is damaged, and what was added to it would be lost with it. */
let damage: unknown
const pushed = pushedPath === undefined ? undefined : openPushed(pushedPath)
/** Verbs of which a power cut may take what nothing was committed after: a kill of the process takes nothing of any. */
const unsynced: ReadonlySet<Asked['verb']> = new Set(['beginUpload'])
let queue: Asked[] = []
let isSyncing = true

port.on('message', (request: WriterRequest) => {
  if (!request) {
    commitQueued()
    tellIfOverwritten()
    pushed?.close()
    database.close()
    port.close()
    return
  }
  if (queue.length === 0) setImmediate(commitQueued)
  queue.push(request)
})

tellTotals(pushed?.found)

const reserve = shared && Reserve.sharing(shared)
if (reserve) {
  reserve.make()
  setInterval(() => reserve.make(), reserveEveryMs).unref()
}

// Its start has left more than it holds from now on.
collectIfLean()

function commitQueued(): void {
  const batch = queue
  queue = []
  if (batch.length === 0) return
  if (reserve?.isGivenUp) reserve.make()
  const refused = reserve?.isGivenUp ? batch.filter(({ verb }) => filling.has(verb)) : []
  const asked = batch.filter((one) => !refused.includes(one))
  refuse(refused, new StorageError('FULL', 'the disk is full, and what is left is for deletes'))
  let error = commit(asked)
  // The journal may have eaten the room.
  if (isFull(error) && cutJournal()) error = commit(asked)
  if (error === undefined) return
  const urgent = asked.filter(({ verb }) => freeing.has(verb))
  const again = isFull(error) && urgent.length > 0 && reserve?.giveUp() ? urgent : []
  refuse(
    asked.filter((one) => !again.includes(one)),
    error,
  )
  refuse(again, commit(again))
}

/** All of them together, and answers them. Returns the error where nothing was done. */
function commit(batch: readonly Asked[]): unknown {
  if (batch.length === 0) return undefined
  try {
    assertSound()
    syncIf(batch.some(({ verb }) => !unsynced.has(verb)))
    database.exec('BEGIN IMMEDIATE')
    const replies = batch.map(runVerb)
    const changes = pushed?.numbered(batch.flatMap((asked, n) => done(asked, replies[n])))
    if (!batch.every(isProbe)) generation.count()
    database.exec('COMMIT')
    generation.committed()
    pushed?.append(changes ?? [])
    if (reserve?.isGivenUp) cutJournal()
    else files.committed()
    tellTotals()
    for (const reply of replies) port?.postMessage(reply)
    return undefined
  } catch (error) {
    if (isDamage(error)) damage = error
    rollBack()
    if (error instanceof ForeignFile) tellIfOverwritten()
    return error
  }
}

/** Throws DamagedRecord where what is written to the catalog would be lost. */
function assertSound(): void {
  if (damage) throw damage
  files.assertThere()
  generation.assertThere()
}

function tellIfOverwritten(): void {
  try {
    generation.assertThere()
  } catch (error) {
    damage ??= error
    if (error instanceof ForeignFile) port?.postMessage({ overwritten: true } satisfies WriterMessage)
  }
}

/** It asks whether the catalog can be written, and changes nothing. */
function isProbe({ verb, parameters }: Asked): boolean {
  return verb === 'used' && (parameters[0] as readonly unknown[]).length === 0
}

/** Before the replies: who hears that something was done finds it counted. */
function tellTotals(found?: FoundJournal): void {
  const usage = totals.news
  if (usage) port?.postMessage({ usage, found } satisfies WriterMessage)
}

/** What a verb was given and has answered; nothing where it failed. */
function done({ verb, parameters }: Asked, reply: WriterReply | undefined) {
  return reply && 'result' in reply ? [{ verb, parameters, result: reply.result }] : []
}

function openPushed(path: string): PushedJournal {
  return PushedJournal.open({
    database,
    statements,
    path,
    catalogPath: workerData.path,
    isSalvaged: damagedPath !== undefined,
    assertSound,
    onTrouble: (error) => {
      port?.postMessage({
        trouble: error instanceof Error ? error.message : undefined,
      } satisfies WriterMessage)
    },
  })
}

/** Gives the room of the journal back, where there is room to do it; returns whether that was so. */
function cutJournal(): boolean {
  const isShorter = checkpointIfRoom(database, path)
  files.committed()
  generation.committed()
  return isShorter
}

/** Does nothing without an error. */
function refuse(batch: readonly Asked[], error: unknown): void {
  if (error === undefined) return
  for (const { id } of batch) port?.postMessage(failed(id, error))
}

/** Whether commits are synced from now on; the sync of one covers all before it. */
function syncIf(isWanted: boolean): void {
  if (isWanted === isSyncing) return
  database.exec(`PRAGMA synchronous = ${isWanted ? 'FULL' : 'NORMAL'}`)
  isSyncing = isWanted
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
    if (isDamage(error) || isFull(error) || !database.isTransaction) throw error
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
