import { type FileHandle, open, readFile, rm } from 'node:fs/promises'
import { crc32 } from 'node:zlib'
import { absentIfMissing } from './file-errors.ts'

/** A run of bytes that was written, with the CRC-32 of its content. */
export interface JournalRecord {
  readonly start: number
  readonly length: number
  readonly checksum: number
}

const version = 'larder-partial-1'
/** What a killed process may lose of what it had: the journal is behind by at most this much. */
const flushAfter = { bytes: 1024 * 1024, milliseconds: 100 }

/**
 * The record of a partial's present ranges: a first line with the version and the size, then a line for each
 * run, `start length crc32`, and the CRC-32 of the line itself, so that a line torn by a power cut is dropped.
 */
export class PartialJournal {
  readonly #file: FileHandle
  /** Runs noted but not written yet, by their end: the next note usually goes on there. */
  readonly #pending = new Map<number, JournalRecord>()
  #pendingBytes = 0
  #flushedAt = performance.now()

  private constructor(file: FileHandle) {
    this.#file = file
  }

  /** Starts a new journal at `path`, in place of any that is there. `size` in bytes, where it is known. */
  static async create(path: string, size: number | undefined): Promise<PartialJournal> {
    try {
      return await PartialJournal.#begin(path, 'w', `${version} ${size ?? '-'}\n`)
    } catch (error) {
      await rm(path, { force: true })
      throw error
    }
  }

  /** Goes on with the journal at `path`. */
  static async resume(path: string): Promise<PartialJournal> {
    // A power cut may have left half a line: a newline of our own ends it, and its checksum drops it.
    return PartialJournal.#begin(path, 'a', '\n')
  }

  static async #begin(path: string, flags: 'a' | 'w', text: string): Promise<PartialJournal> {
    const file = await open(path, flags)
    try {
      await file.appendFile(text)
      return new PartialJournal(file)
    } catch (error) {
      await file.close()
      throw error
    }
  }

  /** The records at `path`; undefined where there is no journal of this version for `size`. */
  static async read(path: string, size: number | undefined): Promise<JournalRecord[] | undefined> {
    const text = await absentIfMissing(readFile(path, 'utf8'))
    const [header, ...lines] = text?.split('\n') ?? []
    if (header !== `${version} ${size ?? '-'}`) return undefined
    return lines.flatMap((line) => parseRecord(line) ?? [])
  }

  /** The size in bytes that the journal at `path` is about; undefined where there is none, or it is unknown. */
  static async size(path: string): Promise<number | undefined> {
    const header = (await absentIfMissing(readFile(path, 'utf8')))?.split('\n', 1)[0] ?? ''
    const match = header.startsWith(`${version} `) ? /^\d+$/.exec(header.slice(version.length + 1)) : null
    return match ? Number(match[0]) : undefined
  }

  /** Notes bytes that are in the file now, and writes the notes down where they are due. */
  async note(position: number, bytes: Uint8Array): Promise<void> {
    const before = this.#pending.get(position)
    this.#pending.delete(position)
    this.#pending.set(position + bytes.length, {
      start: before?.start ?? position,
      length: (before?.length ?? 0) + bytes.length,
      checksum: crc32(bytes, before?.checksum ?? 0),
    })
    this.#pendingBytes += bytes.length
    const age = performance.now() - this.#flushedAt
    if (this.#pendingBytes >= flushAfter.bytes || age >= flushAfter.milliseconds) await this.flush()
  }

  /** Writes down what was noted. A kill of the process loses nothing of it, a power cut may. */
  async flush(): Promise<void> {
    if (this.#pending.size === 0) return
    const lines = [...this.#pending.values()].map(formatRecord).join('')
    this.#pending.clear()
    this.#pendingBytes = 0
    this.#flushedAt = performance.now()
    await this.#file.appendFile(lines)
  }

  async close(): Promise<void> {
    await this.#file.close()
  }
}

function formatRecord({ start, length, checksum }: JournalRecord): string {
  const fields = `${start} ${length} ${checksum}`
  return `${fields} ${crc32(fields)}\n`
}

function parseRecord(line: string): JournalRecord | undefined {
  const match = /^((\d+) (\d+) (\d+)) (\d+)$/.exec(line)
  if (!match || crc32(match[1] ?? '') !== Number(match[5])) return undefined
  return { start: Number(match[2]), length: Number(match[3]), checksum: Number(match[4]) }
}
