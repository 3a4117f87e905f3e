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
/** Earlier releases wrote a size behind the version: a claim, which is nobody's business here. */
const headerPattern = /^larder-partial-1 (?:\d+|-)$/
/** What a killed process may lose of what it had: the journal is behind by at most this much. */
const flushAfter = { bytes: 1024 * 1024, milliseconds: 100 }

/**
 * The record of a partial's present ranges: a first line with the version, then a line for each run,
 * `start length crc32`, and the CRC-32 of the line itself, so that a line torn by a power cut is dropped.
 */
export class PartialJournal {
  readonly #file: FileHandle
  /** Runs noted but not written yet, by their end: the next note usually goes on there. */
  readonly #pending = new Map<number, JournalRecord>()
  #pendingBytes = 0
  #flushedAt = performance.now()
  /** One at a time: where a line is torn, the next one must know. */
  #flushing: Promise<void> = Promise.resolve()
  #isTorn = false

  private constructor(file: FileHandle) {
    this.#file = file
  }

  /** Starts a new journal at `path`, in place of any that is there. */
  static async create(path: string): Promise<PartialJournal> {
    try {
      return await PartialJournal.#begin(path, 'w', `${version} -\n`)
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

  /** The records at `path`; undefined where there is no journal of this version. */
  static async read(path: string): Promise<JournalRecord[] | undefined> {
    const text = await absentIfMissing(readFile(path, 'utf8'))
    const [header = '', ...lines] = text?.split('\n') ?? []
    if (!headerPattern.test(header)) return undefined
    return lines.flatMap((line) => parseRecord(line) ?? [])
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

  /**
   * Writes down what was noted. A kill of the process loses nothing of it, a power cut may. What a full disk did
   * not take is tried again by the next one.
   */
  flush(): Promise<void> {
    const flushed = this.#flushing.then(() => this.#write())
    this.#flushing = flushed.catch(() => {})
    return flushed
  }

  async close(): Promise<void> {
    await this.#flushing
    await this.#file.close()
  }

  async #write(): Promise<void> {
    if (this.#pending.size === 0) return
    const taken = new Map(this.#pending)
    const takenBytes = this.#pendingBytes
    this.#pending.clear()
    this.#pendingBytes = 0
    this.#flushedAt = performance.now()
    const lines = [...taken.values()].map(formatRecord).join('')
    try {
      await this.#file.appendFile(this.#isTorn ? `\n${lines}` : lines)
      this.#isTorn = false
    } catch (error) {
      this.#isTorn = true
      // What goes on from one of them was noted meanwhile with a record of its own.
      for (const [end, record] of taken) if (!this.#pending.has(end)) this.#pending.set(end, record)
      this.#pendingBytes += takenBytes
      throw error
    }
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
