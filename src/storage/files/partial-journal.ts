import { type FileHandle, open, readFile, rm } from 'node:fs/promises'
import { crc32 } from 'node:zlib'
import { type ByteInterval, Ranges, type ReadonlyRanges } from '../ranges.ts'
import { absentIfMissing } from './file-errors.ts'

/** A run of bytes that was written. */
export interface JournalRecord {
  readonly start: number
  readonly length: number
  /** The CRC-32 of its content, which decides whether it is there; undefined: it is. */
  readonly checksum?: number | undefined
}

/** Lines that this version does not know are dropped, so that what an earlier one left goes on in a later one and back. */
const version = 'larder-partial-1'
/** Earlier releases wrote a size behind the version: a claim, which is nobody's business here. */
const headerPattern = /^larder-partial-1 (?:\d+|-)$/
/** A line of an earlier release. */
const checkedPattern = /^\d+ \d+ \d+$/
/** What a killed process may lose of what it had: the journal is behind by at most this much. */
const flushAfter = { bytes: 256 * 1024, milliseconds: 100 }
/** Bytes of which all are dropped where one cannot be read. */
const recordBytes = 1024 * 1024
/** Where a system has no name for its boot. */
const noBoot = '-'

/**
 * The record of a partial's present ranges: a first line with the version, then lines of a word, its values, and the CRC-32 of
 * the line itself, so that a line torn by a power cut is dropped:
 * - `boot ID`: under which boot of the machine the lines behind it were written;
 * - `at START LENGTH`: bytes that were written. They are there after the end of the process, but not after that of the boot;
 * - `synced START LENGTH`: bytes that are on the disk;
 * - `lost START LENGTH`: bytes that are not there although lines before this one say so.
 *
 * Earlier releases wrote `start length crc32`, the checksum of the bytes, which are there if they match it.
 */
export class PartialJournal {
  readonly #file: FileHandle
  /** What was noted and is not written yet. */
  #pending = new Ranges()
  #pendingBytes = 0
  #flushedAt = performance.now()
  /** One at a time: where a line is torn, the next one must know. */
  #flushing: Promise<void> = Promise.resolve()
  #isTorn = false

  private constructor(file: FileHandle) {
    this.#file = file
  }

  /** Starts a new journal at `path`, in place of any that is there. `boot`: see `bootId`. */
  static async create(path: string, boot: string | undefined): Promise<PartialJournal> {
    try {
      return await PartialJournal.#begin(path, 'w', `${version} -\n${bootLine(boot)}`)
    } catch (error) {
      await rm(path, { force: true })
      throw error
    }
  }

  /** Goes on with the journal at `path`, of which `lost` is not there. */
  static async resume(
    path: string,
    boot: string | undefined,
    lost: readonly ByteInterval[] = [],
  ): Promise<PartialJournal> {
    // A power cut may have left half a line: a newline of our own ends it, and its checksum drops it.
    return PartialJournal.#begin(path, 'a', `\n${bootLine(boot)}${linesOf('lost', lost)}`)
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

  /** The records at `path` that count under this boot; undefined where there is no journal of this version. */
  static async read(path: string, boot: string | undefined): Promise<JournalRecord[] | undefined> {
    const text = await absentIfMissing(readFile(path, 'utf8'))
    const [header = '', ...lines] = text?.split('\n') ?? []
    if (!headerPattern.test(header)) return undefined
    return recordsOf(lines, boot)
  }

  /** Notes bytes that are in the file now, and writes the notes down where they are due. */
  async note(position: number, length: number): Promise<void> {
    this.#pending.add(position, position + length)
    this.#pendingBytes += length
    const age = performance.now() - this.#flushedAt
    if (this.#pendingBytes >= flushAfter.bytes || age >= flushAfter.milliseconds) await this.flush()
  }

  /**
   * Writes down what was noted. A kill of the process loses nothing of it, the end of the boot may. What a full disk did
   * not take is tried again by the next one.
   */
  flush(): Promise<void> {
    return this.#inTurn(() => this.#write())
  }

  /** Writes down durably that these bytes are on the disk. */
  synced(ranges: readonly ByteInterval[]): Promise<void> {
    return this.#inTurn(async () => {
      await this.#append(linesOf('synced', ranges))
      await this.#file.datasync()
    })
  }

  async close(): Promise<void> {
    await this.#flushing
    await this.#file.close()
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const flushed = this.#flushing.then(work)
    this.#flushing = flushed.catch(() => {})
    return flushed
  }

  async #write(): Promise<void> {
    if (this.#pending.total === 0) return
    const taken = this.#pending
    const takenBytes = this.#pendingBytes
    this.#pending = new Ranges()
    this.#pendingBytes = 0
    this.#flushedAt = performance.now()
    try {
      await this.#append(linesOf('at', taken))
    } catch (error) {
      for (const { start, end } of taken) this.#pending.add(start, end)
      this.#pendingBytes += takenBytes
      throw error
    }
  }

  async #append(lines: string): Promise<void> {
    const wasTorn = this.#isTorn
    this.#isTorn = true
    await this.#file.appendFile(wasTorn ? `\n${lines}` : lines)
    this.#isTorn = false
  }
}

/** Where the journal of the partial at `path` lies. */
export function journalPathOf(path: string): string {
  return `${path}.journal`
}

function linesOf(word: 'at' | 'synced' | 'lost', ranges: Iterable<ByteInterval>): string {
  return [...ranges].map(({ start, end }) => line(`${word} ${start} ${end - start}`)).join('')
}

function bootLine(boot: string | undefined): string {
  return line(`boot ${boot ?? noBoot}`)
}

function line(text: string): string {
  return `${text} ${crc32(text)}\n`
}

/** What a line says; undefined where it is not whole. */
function textOf(line: string): string | undefined {
  const text = line.slice(0, Math.max(line.lastIndexOf(' '), 0))
  return line === `${text} ${crc32(text)}` ? text : undefined
}

function recordsOf(lines: readonly string[], boot: string | undefined): JournalRecord[] {
  const records: JournalRecord[] = []
  const there = new Ranges()
  let isThisBoot = false
  for (const line of lines) {
    const text = textOf(line) ?? ''
    const [word = '', ...values] = text.split(' ')
    const [start = 0, length = 0] = values.map(Number)
    if (word === 'boot') isThisBoot = boot !== undefined && values[0] === boot
    if (word === 'synced' || (word === 'at' && isThisBoot)) there.add(start, start + length)
    if (word === 'lost') there.remove(start, start + length)
    if (checkedPattern.test(text)) records.push(checkedRecord(text))
  }
  return [...records, ...recordsIn(there)]
}

function checkedRecord(text: string): JournalRecord {
  const [start = 0, length = 0, checksum] = text.split(' ').map(Number)
  return { start, length, checksum }
}

function* recordsIn(ranges: ReadonlyRanges): Generator<JournalRecord> {
  for (const { start, end } of ranges) {
    for (let at = start; at < end; at += recordBytes)
      yield { start: at, length: Math.min(recordBytes, end - at) }
  }
}
