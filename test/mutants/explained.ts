/** A mutant that no test need notice: it is another way to write the same, or costs less than a test would. */
export interface Explained {
  readonly file: string
  /** The line of the source, trimmed. */
  readonly line: string
  /** What becomes of it, trimmed. */
  readonly becomes: string
  readonly why: string
}

export const explained: readonly Explained[] = [
  {
    file: 'src/storage/files/partial-journal.ts',
    line: '#pendingBytes = 0',
    becomes: '#pendingBytes = 1',
    why: 'the first flush comes one byte of a mebibyte earlier',
  },
  {
    file: 'src/storage/sqlite/salvage.ts',
    line: 'if (copyFrom(database, damagedPath)) return',
    becomes: 'if (false) return',
    why: 'the rows come a second time, and those that are there already are left alone',
  },
  {
    file: 'src/storage/ranges.ts',
    line: 'if ((this.#intervals[middle]?.end ?? 0) < position) low = middle + 1',
    becomes: 'if ((this.#intervals[middle]?.end ?? 1) < position) low = middle + 1',
    why: 'there is one in the middle of those that are there: it stands there for the type',
  },
  {
    file: 'src/storage/ranges.ts',
    line: 'if ((this.#intervals[middle]?.end ?? 0) < position) low = middle + 1',
    becomes: 'if ((this.#intervals[middle]?.end) < position) low = middle + 1',
    why: 'there is one in the middle of those that are there: it stands there for the type',
  },
  {
    file: 'src/storage/sqlite/statements.ts',
    line: 'this.#prepared.set(name, statement)',
    becomes: ';',
    why: 'a statement is prepared each time that it runs: slower, not wrong',
  },
  {
    file: 'src/registry/idle-uploads.ts',
    line: 'if (!session.isOpen || !session.isIdle) return',
    becomes: 'if (false) return',
    why: 'it is asked again when its time has come',
  },
  {
    file: 'src/registry/idle-uploads.ts',
    line: 'if (longest && this.#open.size > maximumOpen) this.#close(longest)',
    becomes: 'if (longest && this.#open.size >= maximumOpen) this.#close(longest)',
    why: 'one file more or less is open',
  },
  {
    file: 'src/content/size.ts',
    line: "super('what an earlier attempt left contradicts what the upstream says now', { cause })",
    becomes: "super('what an earlier attempt left contradicts what the upstream says now', {  })",
    why: 'only the log tells the cause',
  },
  {
    file: 'src/registry/open-pull.ts',
    line: "this.#remember(reference, { sent: 'nothing', size: undefined, isNamed: false, trouble: undefined })",
    becomes: "this.#remember(reference, { sent: 'nothing', size: undefined,  trouble: undefined })",
    why: 'it is asked for as a condition only, and what is missing is none: it stands there for the type',
  },
  {
    file: 'src/registry/open-pull.ts',
    line: 'if (manifest && status < 300 && !this.#parsed.has(manifest.digest)) this.#read(manifest)',
    becomes: 'if (manifest && status <= 300 && !this.#parsed.has(manifest.digest)) this.#read(manifest)',
    why: 'nothing here answers with 300',
  },
  {
    file: 'src/storage/memory/memory-partial.ts',
    line: 'this.mtime = now',
    becomes: ';',
    why: 'a file in memory has one time more or less: it is only compared with what was recorded of it',
  },
  {
    file: 'src/storage/sqlite/sqlite-catalog.ts',
    line: 'if (file && !lease) return false',
    becomes: 'if (false) return false',
    why: 'the writer looks again, and says the same: a transaction more, not another answer',
  },
  {
    file: 'src/storage/sqlite/current-file.ts',
    line: 'await this.#opening.catch(() => {})',
    becomes: 'this.#opening.catch(() => {})',
    why: 'at the end it is awaited once more, before anything is closed',
  },
  {
    file: 'src/content/size.ts',
    line: 'return [...(present ?? [])].at(-1)?.end ?? 0',
    becomes: 'return [...(present ?? [])].at(-1)?.end',
    why: 'it is only asked what is less, and nothing is less than undefined either: it stands there for the type',
  },
  {
    file: 'src/http/send-blob.ts',
    line: "super('the client has left', { cause })",
    becomes: "super('the client has left', {  })",
    why: 'only the log tells the cause',
  },
  {
    file: 'src/http/send-blob.ts',
    line: "signal.addEventListener('abort', () => fail(signal.reason), { once: true })",
    becomes: "signal.addEventListener('abort', () => fail(signal.reason), {  })",
    why: 'a signal aborts once',
  },
  {
    file: 'src/http/send-blob.ts',
    line: "signal.addEventListener('abort', () => fail(signal.reason), { once: true })",
    becomes: "signal.addEventListener('abort', () => fail(signal.reason), { once: false })",
    why: 'a signal aborts once',
  },
  {
    file: 'src/http/send-blob.ts',
    line: 'if (bytes.length === 0) return Promise.resolve()',
    becomes: 'if (false) return Promise.resolve()',
    why: 'Node writes nothing for no bytes',
  },
  {
    file: 'src/content/blobs.ts',
    line: 'for (let look = 0; look < maximumLooks; look += 1) {',
    becomes: 'for (let look = 0; look <= maximumLooks; look += 1) {',
    why: 'one look more or less',
  },
  {
    file: 'src/content/growing.ts',
    line: 'recent?.add(start, part)',
    becomes: ';',
    why: 'recent bytes are not kept in memory, and are read from the partial: slower, not wrong',
  },
]
