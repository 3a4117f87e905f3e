import { randomInt } from 'node:crypto'
import { renameSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'
import type { FactName } from '../../facts.ts'
import { isFull } from '../sqlite-errors.ts'
import type { Statements } from '../statements.ts'
import { JournalFile } from './journal-file.ts'
import { type Replayed, replay } from './replay.ts'

export interface PushedJournalOptions {
  readonly database: DatabaseSync
  readonly statements: Statements
  readonly path: string
  /** Of the catalog, whose mode the journal has. */
  readonly catalogPath: string
  /** The catalog was filled with what could be read of a damaged one. */
  readonly isSalvaged: boolean
  /** Throws where the file of the catalog is not the one that was opened any more. */
  readonly assertSound?: (() => void) | undefined
  /** Bytes of changes after which it is written anew, where they are as much as what was there before them as well. */
  readonly roomForChanges?: number
  /** Milliseconds after which it is tried once more to write it anew. */
  readonly retryMs?: number
  /** Told once when it cannot be written, and with nothing when it can again. */
  readonly onTrouble: (error: unknown) => void
}

/** What was found at the start. */
export interface FoundJournal {
  readonly replayed?: Replayed | undefined
  /** It was of another catalog, and is kept under this name. */
  readonly keptAs?: string | undefined
}

/** The names of its facts in the catalog. */
const catalogFact: FactName = 'journal-catalog'
export const numberFact: FactName = 'journal-sequence'
const largestId = 2 ** 47
export interface OpenedJournal extends FoundJournal {
  readonly catalog: number
  readonly number: number
  /** Undefined where there is none, or it has to be written anew. */
  readonly file?: JournalFile | undefined
}

/**
 * Brings a catalog and its journal together: whichever is the older one gets what it lacks, or is to be written anew. Throws
 * what SQLite says, and what the file system says where the journal is needed and cannot be read.
 */
export function openBoth(options: PushedJournalOptions): OpenedJournal {
  const { database, statements, path } = options
  const catalog = factOf(statements, catalogFact)
  const number = factOf(statements, numberFact) ?? 0
  const file = openIfThere(path)
  const other = file?.header?.catalog
  const isOther = catalog !== undefined && other !== undefined && other !== catalog
  if (!file || isOther) {
    file?.close()
    const keptAs = isOther ? setAside(path) : undefined
    return { catalog: catalog ?? nameCatalog(options, randomInt(1, largestId)), number, keptAs }
  }
  try {
    const both = bringTogether(options, file, { catalog, number })
    if (!both.file) file.close()
    return both
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK')
    file.close()
    throw error
  }
}

function bringTogether(
  { database, statements, isSalvaged }: PushedJournalOptions,
  file: JournalFile,
  { catalog, number }: { readonly catalog: number | undefined; readonly number: number },
): OpenedJournal {
  const last = file.last()
  const isKnown = catalog !== undefined && file.header !== undefined
  if (isKnown && last === number && !isSalvaged) return { catalog, number, file }
  // What it lacks itself may be the end of something that it has.
  if (catalog !== undefined && (last < number || (last === number && !isSalvaged))) return { catalog, number }
  const id = catalog ?? file.header?.catalog ?? randomInt(1, largestId)
  const isAll = isSalvaged || catalog === undefined
  database.exec('BEGIN IMMEDIATE')
  const replayed = replay(database, statements, file, { after: isAll ? -1 : number, isOlder: !isAll })
  statements.run('setFact', catalogFact, id)
  statements.run('setFact', numberFact, Math.max(last, number))
  database.exec('COMMIT')
  return { catalog: id, number: Math.max(last, number), file, replayed }
}

/** Without room for it the next start does it. */
function nameCatalog({ statements }: PushedJournalOptions, id: number): number {
  try {
    statements.run('setFact', catalogFact, id)
  } catch (error) {
    if (!isFull(error)) throw error
  }
  return id
}

export function factOf(statements: Statements, name: FactName): number | undefined {
  return statements.get('fact', name)?.value as number | undefined
}

function openIfThere(path: string): JournalFile | undefined {
  try {
    return JournalFile.open(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Returns the name under which it is kept. */
function setAside(path: string): string {
  const keptAs = `${path}.replaced-${new Date().toISOString().replaceAll(':', '')}`
  renameSync(path, keptAs)
  return keptAs
}
