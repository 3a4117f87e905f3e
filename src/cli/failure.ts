import { existsSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { constants } from 'node:os'
import { dirname } from 'node:path'
import { inspect } from 'node:util'
import { CommanderError } from 'commander'
import { ConfigError } from '../config/problems.ts'
import { redactText } from '../logging/redact.ts'
import type { CommandLine } from './command-line.ts'
import { problemLines } from './config.ts'
import { exitCodes } from './exit-codes.ts'
import { portHolder } from './port-holder.ts'

/** What Node and the parts say of an error, beside its message. */
interface Failure extends Error {
  readonly code?: string
  /** SQLite's own. */
  readonly errcode?: number
  readonly errno?: number
  readonly syscall?: string
  readonly path?: string
  /** The data folder, where `path` may be one above it. */
  readonly folder?: string
  /** Of a host, or the path of a socket. */
  readonly address?: string
  readonly port?: number
}

const sqliteFull = 13

const newerAdvice =
  'A newer Larder has used this folder, and there is no way back: start that one, put the copy of the folder back that was made before it, or set storage.dir (or --data) to another folder.'

const misplacedAdvice =
  'Move it away, or mend what it leads to, or set storage.dir (or --data) to another folder.'

interface Advice {
  readonly exitCode: number
  readonly text: string
}

/** Says on stderr why a command failed (what, why, and what to do), and returns its exit code. */
export async function tellFailure(error: unknown, { stderr, environment }: CommandLine): Promise<number> {
  // Commander has printed it; --help and --version end here too.
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.usage
  if (error instanceof ConfigError) {
    stderr.write(problemLines(error.problems))
    return exitCodes.configuration
  }
  const failure: Failure = error instanceof Error ? error : new Error(String(error))
  const { exitCode, text } = await adviceFor(failure)
  stderr.write(`larder: ${failure.message}\n${text}\n`)
  if (environment.LARDER_DEBUG) stderr.write(`${redactText(inspect(failure))}\n`)
  return exitCode
}

async function adviceFor(failure: Failure): Promise<Advice> {
  const { code = '', syscall } = failure
  if (syscall === 'listen' || syscall === 'bind' || syscall === 'getaddrinfo') {
    return { exitCode: exitCodes.refused, text: await listenAdvice(failure) }
  }
  if (code === 'LOCKED') return { exitCode: exitCodes.refused, text: 'One process a folder.' }
  if (code === 'NEWER') return { exitCode: exitCodes.storage, text: newerAdvice }
  if (code === 'MISPLACED') return { exitCode: exitCodes.storage, text: misplacedAdvice }
  if (code === 'EACCES') return { exitCode: exitCodes.storage, text: await ownerAdvice(failure) }
  const storageCode = storageCodeOf(failure)
  if (isStorageCode(storageCode)) {
    const text = `${storageAdvice[storageCode]} or set storage.dir (or --data) to another folder.`
    return { exitCode: exitCodes.storage, text }
  }
  const text = 'That was not expected. Please report it, with what it prints where LARDER_DEBUG=1 is set.'
  return { exitCode: exitCodes.unexpected, text }
}

/** Node has no name for a used-up quota, and SQLite a word of its own for a full disk. */
function storageCodeOf({ code = '', errcode, errno }: Failure): string {
  if (errcode === sqliteFull) return 'ENOSPC'
  return errno === -constants.errno.EDQUOT ? 'EDQUOT' : code
}

async function listenAdvice({ code, port, address }: Failure): Promise<string> {
  const another = 'set server.listen (or --listen) to another'
  switch (code) {
    case 'EADDRINUSE': {
      const holder = port === undefined ? undefined : await portHolder(port)
      return `Another program listens there${holder === undefined ? '' : `, ${holder}`}: stop it, or ${another} ${port === undefined ? 'path' : 'port'}.`
    }
    case 'EACCES':
      if (port === undefined || port < 0) {
        // What Node says where the folder is missing, too.
        if (address !== undefined && !existsSync(dirname(address))) {
          return `${dirname(address)} does not exist: make it first, or ${another} path.`
        }
        return `This user may not make a socket in that folder: ${another} path, or give this user the folder.`
      }
      return port < 1024
        ? `Ports below 1024 are not for everybody: choose a port above 1023 (server.listen, or --listen).`
        : `The system does not allow that port: ${another}.`
    case 'EEXIST':
      return `Remove it if nobody needs it, or ${another} path.`
    case 'EADDRNOTAVAIL':
      return `No network card of this machine has that address: ${another}.`
    case 'EAFNOSUPPORT':
      return `This machine has no addresses of that kind (is IPv6 off?): ${another}.`
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `That name has no address: ${another}.`
    default:
      return `It cannot listen there: ${another}.`
  }
}

/** A folder that exists may be given to the user who asks; of one that is missing, only itself, and none above it. */
async function ownerAdvice({ path, folder = path }: Failure): Promise<string> {
  const what = 'set storage.dir (or --data) to a folder that this user may write to'
  const own = process.geteuid?.()
  const owner = folder === undefined ? undefined : await ownerOf(folder)
  if (folder === undefined || own === undefined || owner === undefined || owner === own) {
    return `It is not allowed: let this user write to that folder, or ${what}.`
  }
  const word = shellWord(folder)
  if (owner === 'missing') {
    return `User ${own} may not make it: give this user a folder (as root: mkdir -p ${word} && chown ${own} ${word}), or ${what}.`
  }
  const names = `${folder} belongs to user ${owner}, and this is user ${own}`
  // Not what lies above it or in it: nobody knows whether that is Larder's.
  if (isSystemFolder(folder)) return `${names}: ${what}.`
  return `${names}: give it to this user (chown ${own} ${word}), or ${what}.`
}

async function ownerOf(path: string): Promise<number | 'missing' | undefined> {
  try {
    return (await stat(path)).uid
  } catch (error) {
    return (error as Failure).code === 'ENOENT' ? 'missing' : undefined
  }
}

/** `/`, and what lies right in it or in /usr and /var: /etc, /var/lib. */
function isSystemFolder(path: string): boolean {
  return /^\/(?:(?:usr|var)\/)?[^/]*\/?$/.test(path) && path !== '/data' && !path.includes('larder')
}

function shellWord(path: string): string {
  return /^[\w./:@%+=-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`
}

function isStorageCode(code: string): code is keyof typeof storageAdvice {
  return code in storageAdvice
}

const storageAdvice = {
  ENOSPC: 'That disk is full: free some space,',
  EDQUOT: 'The quota of this user is used up: free some space,',
  EROFS: 'That file system is read-only: mount it for writing,',
  EIO: 'That disk fails: look at the log of the system (dmesg), repair it,',
  ENOTDIR: 'A part of that path is a file and no folder: remove it,',
  EEXIST: 'There is a file and no folder: remove it,',
  ENOENT: 'No folder can be made there: make it yourself,',
  ELOOP: 'That path is a circle of links: mend it,',
  ENAMETOOLONG: 'That path is too long for the file system: choose a shorter one,',
  EPERM: 'The file system forbids it (chattr, mount options): change that,',
  EBUSY: 'Something else uses it: stop that,',
  ERR_SQLITE_ERROR: 'The data folder cannot be used: free or repair that disk,',
} as const
