import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  statSync,
  writeSync,
} from 'node:fs'
import { promisify } from 'node:util'
import { lineOf, type Numbered, textIn } from './change.ts'

/** Bytes. */
const pieceSize = 256 * 1024
/** Of the header, the first line. */
const headerSize = 160
/** More than that a line never has: a manifest of 4 MiB in base64, and what it names. */
const longestLine = 64 * 1024 * 1024
const newline = 0x0a

/** The first line of a journal. */
export interface JournalHeader {
  /** Which catalog it is of. */
  readonly catalog: number
  /** The number of the last change before all that follows: what is not in the file was not there then. */
  readonly from: number
  /** The number of the last change, and the bytes of the file, when all that was there then was written down. */
  readonly until: number
  readonly size: number
}

/** What was read of a line: nothing where its bytes are not those that were written. */
interface Line {
  readonly change: Numbered | undefined
  /** Where it ends in the file. */
  readonly end: number
}

/**
 * A file of changes, one a line, with a header in front; each line has its checksum. What is appended is in the hands of
 * the system: it outlives the process, and `sync` makes it outlive a power cut. All methods throw what the file system says.
 */
export class JournalFile {
  #path: string
  readonly #file: number
  #header: JournalHeader | undefined
  #size: number
  #isCut = false

  private constructor(path: string, file: number, header: JournalHeader | undefined, size: number) {
    this.#path = path
    this.#file = file
    this.#header = header
    this.#size = size
  }

  /** One that is there. Throws ENOENT where it is not. */
  static open(path: string): JournalFile {
    const file = openSync(path, 'r+')
    return closedOnFailure(file, () => new JournalFile(path, file, headerIn(file), fstatSync(file).size))
  }

  /** A new one, in place of whatever is there. `mode`: as of `chmod`. */
  static create(path: string, mode: number): JournalFile {
    const file = openSync(path, 'w+', mode)
    closedOnFailure(file, () => writeSync(file, headerLine({ catalog: 0, from: 0, until: 0, size: 0 }), 0))
    return new JournalFile(path, file, undefined, headerSize)
  }

  /** Undefined where its bytes are not those that were written. */
  get header(): JournalHeader | undefined {
    return this.#header
  }

  /** Parts of it, known by now, that are not there or not as they were written: its header, its end. */
  get lacking(): number {
    const isShort = this.#size < (this.#header?.size ?? headerSize)
    return (this.#header ? 0 : 1) + (this.#isCut || isShort ? 1 : 0)
  }

  /** Bytes. */
  get size(): number {
    return this.#size
  }

  /** Whether it still lies under its name, with all that was written to it. */
  get isInPlace(): boolean {
    const now = statSync(this.#path, { throwIfNoEntry: false })
    const { dev, ino, size } = fstatSync(this.#file)
    return now?.ino === ino && now.dev === dev && size >= this.#size
  }

  append(changes: readonly Numbered[]): void {
    const bytes = Buffer.from(changes.map((change) => lineOf(JSON.stringify(change))).join(''))
    for (let at = 0; at < bytes.length; ) {
      at += writeSync(this.#file, bytes, at, bytes.length - at, this.#size + at)
    }
    this.#size += bytes.length
  }

  /** Of a new one, when all that was there is in it. */
  begin(header: Omit<JournalHeader, 'size'>): void {
    this.#header = { ...header, size: this.#size }
    writeSync(this.#file, headerLine(this.#header), 0)
  }

  /** It has another name now. */
  movedTo(path: string): this {
    this.#path = path
    return this
  }

  async sync(): Promise<void> {
    await promisify(fdatasync)(this.#file)
  }

  /** The same, while nothing else goes on. */
  syncNow(): void {
    fdatasyncSync(this.#file)
  }

  /**
   * The number of the last change, 0 where the file was cut short; what lies behind it, which a power cut or a full disk
   * has left of another one, is cut off.
   */
  last(): number {
    const { until = 0, size: begin = headerSize } = this.#header ?? {}
    if (this.#size < begin) return 0
    for (let window = pieceSize; ; window *= 16) {
      const from = Math.max(begin, this.#size - window)
      let last: { readonly number: number; readonly end: number } | undefined
      for (const { change, end } of this.lines(from)) {
        if (change?.number !== undefined) last = { number: change.number, end }
      }
      if (!last && from > begin) continue
      this.#cut(last?.end ?? begin)
      return last?.number ?? until
    }
  }

  /** All that is in it. `from`: where the line begins that is read first. */
  *lines(from = headerSize): Generator<Line> {
    const piece = Buffer.allocUnsafeSlow(pieceSize)
    let rest: Buffer[] = []
    let length = 0
    for (let at = from; at < this.#size; ) {
      const count = readSync(this.#file, piece, 0, pieceSize, at)
      if (count === 0) return
      let begin = 0
      for (;;) {
        const end = piece.subarray(0, count).indexOf(newline, begin)
        if (end === -1) break
        const line = Buffer.concat([...rest, piece.subarray(begin, end)])
        begin = end + 1
        yield { change: changeIn(line), end: at + begin }
        rest = []
        length = 0
      }
      length += count - begin
      if (length <= longestLine) rest.push(Buffer.from(piece.subarray(begin, count)))
      at += count
    }
  }

  /** Never throws: whatever the disk says, the descriptor is gone, and what matters was synced before. */
  close(): void {
    try {
      closeSync(this.#file)
    } catch {}
  }

  #cut(size: number): void {
    if (size >= this.#size) return
    this.#isCut = true
    ftruncateSync(this.#file, size)
    fdatasyncSync(this.#file)
    this.#size = size
  }
}

function closedOnFailure<Value>(file: number, work: () => Value): Value {
  try {
    return work()
  } catch (error) {
    closeSync(file)
    throw error
  }
}

function headerLine(header: JournalHeader): string {
  const bare = lineOf(JSON.stringify(header)).length
  return lineOf(JSON.stringify(header).padEnd(JSON.stringify(header).length + headerSize - bare))
}

function headerIn(file: number): JournalHeader | undefined {
  const line = Buffer.alloc(headerSize)
  readSync(file, line, 0, headerSize, 0)
  const text = textIn(line.subarray(0, -1))
  return text === undefined ? undefined : JSON.parse(text)
}

function changeIn(line: Buffer): Numbered | undefined {
  const text = textIn(line)
  return text === undefined ? undefined : JSON.parse(text)
}
