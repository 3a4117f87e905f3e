import fs, { type PathLike } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { resolve, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * What may fail. `open`: for reading; `create`: for writing, of what is there as well; `list`: of a folder; `unlink`: of
 * folders too; `space`: statfs.
 */
export const operations = [
  'open',
  'create',
  'read',
  'write',
  'sync',
  'rename',
  'unlink',
  'mkdir',
  'stat',
  'list',
  'space',
] as const
export type Operation = (typeof operations)[number]

/** By the numbers of Linux. */
export const errorNumbers = { ENOSPC: 28, EDQUOT: 122, EIO: 5, EROFS: 30, EMFILE: 24, ENOMEM: 12 } as const
export type ErrorName = keyof typeof errorNumbers

/** What all threads share: what was counted, and what is to fail. */
export interface FaultState {
  /** Absolute, and resolved. */
  readonly folder: string
  /** Of 32-bit numbers: those of `slots`, then one count for each operation. */
  readonly shared: SharedArrayBuffer
}

/** Where in `FaultState.shared` what lies. `matched`: operations of the kind that fails, since it was chosen. */
export const slots = { operation: 0, errno: 1, from: 2, until: 3, loses: 4, matched: 5, failed: 6 } as const
export const countsAt = Object.keys(slots).length

/** Bytes that were written to a file since it was last synced. */
interface OpenFile {
  readonly path: string
  readonly unsynced: { readonly start: number; readonly end: number }[]
}

type WriteAt = (
  this: FileHandle,
  bytes: Uint8Array,
  offset: number,
  length: number,
  position: number,
) => Promise<unknown>

type Call = (...parameters: never[]) => unknown
type Calls = Record<string, Call>

/** Called with the path of what is worked on; throws where it is to fail. */
type Strike = (operation: Operation, path: string | undefined) => void

/** Functions of `node:fs/promises` and, with "Sync" behind, of `node:fs` that do one thing to their first parameter. */
const byPath: Readonly<Record<string, Operation>> = {
  rename: 'rename',
  unlink: 'unlink',
  rm: 'unlink',
  rmdir: 'unlink',
  mkdir: 'mkdir',
  stat: 'stat',
  lstat: 'stat',
  access: 'stat',
  readdir: 'list',
  statfs: 'space',
}
/** Functions of `node:fs` that do one thing to a descriptor. */
const byDescriptor: Readonly<Record<string, Operation>> = {
  readSync: 'read',
  writeSync: 'write',
  ftruncateSync: 'write',
  fsyncSync: 'sync',
  fdatasyncSync: 'sync',
  fdatasync: 'sync',
  fstatSync: 'stat',
}
const byHandle: Readonly<Record<string, Operation>> = {
  read: 'read',
  readv: 'read',
  readFile: 'read',
  write: 'write',
  writev: 'write',
  appendFile: 'write',
  writeFile: 'write',
  truncate: 'write',
  sync: 'sync',
  datasync: 'sync',
  stat: 'stat',
}

/** Puts itself between this thread and the files below a folder. Returns what undoes that. */
export async function patchFileSystem(state: FaultState): Promise<() => void> {
  const handlePrototype = await prototypeOfHandles()
  const undo: (() => void)[] = []
  const strike = strikeOf(state)
  const replace = (target: object, name: string, by: (original: Call) => Call): void => {
    const calls = target as Calls
    const original = calls[name]
    if (original === undefined) throw new Error(`there is no ${name} to put something else in place of`)
    calls[name] = by(original)
    undo.push(() => {
      calls[name] = original
    })
  }
  patchPaths(replace, strike)
  patchDescriptors(replace, strike)
  patchHandles(replace, strike, handlePrototype, state)
  syncBuiltinESMExports()
  return () => {
    for (const one of undo.toReversed()) one()
    syncBuiltinESMExports()
  }
}

type Replace = (target: object, name: string, by: (original: Call) => Call) => void

function patchPaths(replace: Replace, strike: Strike): void {
  for (const [name, operation] of Object.entries(byPath)) {
    replace(fs.promises, name, (original) =>
      async((path: PathLike, ...others: never[]) => {
        strike(operation, pathOf(path))
        return original(path as never, ...others)
      }),
    )
    replace(fs, `${name}Sync`, (original) => (path: PathLike, ...others: never[]) => {
      strike(operation, pathOf(path))
      return original(path as never, ...others)
    })
  }
  const wholeFiles = { readFile: 'read', writeFile: 'write', appendFile: 'write' } as const
  for (const [name, operation] of Object.entries(wholeFiles)) {
    const before = (path: PathLike | number): void => {
      if (typeof path === 'number') return
      strike(operation === 'read' ? 'open' : 'create', pathOf(path))
      strike(operation, pathOf(path))
    }
    replace(fs.promises, name, (original) =>
      async((path: PathLike, ...others: never[]) => {
        before(path)
        return original(path as never, ...others)
      }),
    )
    replace(fs, `${name}Sync`, (original) => (path: PathLike, ...others: never[]) => {
      before(path)
      return original(path as never, ...others)
    })
  }
}

function patchDescriptors(replace: Replace, strike: Strike): void {
  const paths = new Map<number, string>()
  replace(fs, 'openSync', (original) => (path: PathLike, ...others: never[]) => {
    strike(kindOfOpening(others[0]), pathOf(path))
    const descriptor = original(path as never, ...others) as number
    paths.set(descriptor, pathOf(path))
    return descriptor
  })
  replace(fs, 'closeSync', (original) => (descriptor: number) => {
    paths.delete(descriptor)
    return original(descriptor as never)
  })
  for (const [name, operation] of Object.entries(byDescriptor)) {
    replace(fs, name, (original) => (descriptor: number, ...others: never[]) => {
      strike(operation, paths.get(descriptor))
      return original(descriptor as never, ...others)
    })
  }
}

function patchHandles(replace: Replace, strike: Strike, prototype: object, state: FaultState): void {
  const files = new WeakMap<object, OpenFile>()
  replace(fs.promises, 'open', (original) =>
    async(async (path: PathLike, ...others: never[]) => {
      strike(kindOfOpening(others[0]), pathOf(path))
      const handle = (await original(path as never, ...others)) as FileHandle
      files.set(handle, { path: pathOf(path), unsynced: [] })
      return handle
    }),
  )
  const write = (prototype as FileHandle).write as WriteAt
  const loses = new Int32Array(state.shared)
  for (const [name, operation] of Object.entries(byHandle)) {
    replace(prototype, name, (original) =>
      async(async function (this: FileHandle, ...parameters: never[]) {
        const file = files.get(this)
        try {
          strike(operation, file?.path)
        } catch (error) {
          if (operation === 'write') await tear(this, name, parameters, write)
          if (operation === 'sync' && loses[slots.loses]) await lose(this, file, write)
          throw error
        }
        const result = await original.apply(this, parameters)
        if (operation === 'sync') file?.unsynced.splice(0)
        if (operation === 'write') note(file, name, parameters)
        return result
      }),
    )
  }
}

/** A write that fails may have written some of it. */
async function tear(
  handle: FileHandle,
  name: string,
  [bytes, ...others]: readonly unknown[],
  write: WriteAt,
): Promise<void> {
  const [piece, position] =
    name === 'writev'
      ? [(bytes as readonly Uint8Array[])[0], others[0]]
      : [bytes instanceof Uint8Array ? bytes : undefined, others[2]]
  if (piece === undefined || typeof position !== 'number') return
  await write.call(handle, piece, 0, piece.length >> 1, position)
}

/** What could not be synced is not there any more, although it could be read until now. */
async function lose(handle: FileHandle, file: OpenFile | undefined, write: WriteAt): Promise<void> {
  for (const { start, end } of file?.unsynced.splice(0) ?? [])
    await write.call(handle, new Uint8Array(end - start), 0, end - start, start)
}

function note(file: OpenFile | undefined, name: string, parameters: readonly unknown[]): void {
  const [bytes, second, length, position] = parameters
  const pieces = name === 'writev' ? (bytes as readonly Uint8Array[]) : undefined
  const start = pieces ? second : position
  const size = pieces ? pieces.reduce((sum, piece) => sum + piece.length, 0) : length
  if (typeof start === 'number' && typeof size === 'number') file?.unsynced.push({ start, end: start + size })
}

/** The error of the operation, where it is the one that is to fail. */
function strikeOf({ folder, shared }: FaultState): Strike {
  const numbers = new Int32Array(shared)
  const below = folder + sep
  return (operation, path) => {
    if (path === undefined || (path !== folder && !path.startsWith(below))) return
    const kind = operations.indexOf(operation)
    Atomics.add(numbers, countsAt + kind, 1)
    if (Atomics.load(numbers, slots.operation) !== kind) return
    const nth = Atomics.add(numbers, slots.matched, 1) + 1
    if (nth < Atomics.load(numbers, slots.from) || nth >= Atomics.load(numbers, slots.until)) return
    Atomics.add(numbers, slots.failed, 1)
    throw failureOf(Atomics.load(numbers, slots.errno), operation, path)
  }
}

/** As Node makes it. */
function failureOf(errno: number, syscall: string, path: string): Error {
  const [name = ''] = Object.entries(errorNumbers).find(([, number]) => number === errno) ?? []
  // Node does not know the name of a quota.
  const code = name === 'EDQUOT' ? `Unknown system error -${errno}` : name
  return Object.assign(new Error(`${code}: injected, ${syscall} '${path}'`), {
    code,
    errno: -errno,
    syscall,
    path,
  })
}

function kindOfOpening(flags: string | number = 'r'): 'open' | 'create' {
  const isForReading = typeof flags === 'number' ? (flags & 3) === fs.constants.O_RDONLY : flags === 'r'
  return isForReading ? 'open' : 'create'
}

function pathOf(path: PathLike): string {
  return resolve(path instanceof URL ? fileURLToPath(path) : path.toString())
}

function async<This, Parameters extends never[]>(
  work: (this: This, ...parameters: Parameters) => unknown,
): (...parameters: Parameters) => Promise<unknown> {
  return async function (this: This, ...parameters) {
    return work.apply(this, parameters)
  } as (...parameters: Parameters) => Promise<unknown>
}

async function prototypeOfHandles(): Promise<object> {
  await using handle = await open('/dev/null')
  return Object.getPrototypeOf(handle)
}
