import { readFile, stat } from 'node:fs/promises'
import { parseHtpasswd, type Users } from '../access/htpasswd.ts'
import { readCertificates, warnOfAuthorities, warnOfChain } from '../pem/certificates.ts'
import { checkPair, readChain, readKey } from '../pem/key-pair.ts'
import { PemError, type PemFile } from '../pem/pem-file.ts'
import { fileFailure } from '../units/file-failure.ts'
import { UnitError } from '../units/unit-error.ts'
import { dotted, type ValuePath, valueAt } from '../yaml/value-tree.ts'
import type { Config } from './config.ts'
import type { Complaint } from './problems.ts'
import { withoutFinalNewline } from './text-value.ts'

interface NamedFile extends PemFile {
  /** Permissions, and to whom it belongs, as `stat` tells them. */
  readonly mode: number
  readonly uid: number
}

/** Bytes; the largest bundles of authorities have a quarter of a megabyte. */
const largestFile = 16 * 1024 * 1024
// Container runtimes mount secrets readable to all, inside a file system that only the container sees.
const mountedSecret = /^(?:\/var)?\/run\/secrets\//

/**
 * Opens every file that the values name: certificates, keys, authorities, passwords, users. The values need not be whole:
 * what is wrong with the files is told beside all else that is wrong. `refused` are dotted paths whose value cannot
 * stay. Returns the configuration with its passwords. Never throws for what the file system says.
 */
export async function readNamedFiles(
  config: Config,
  refused: ReadonlySet<string>,
): Promise<{ config: Config; complaints: readonly Complaint[] }> {
  const complaints: Complaint[] = []

  async function open<T>(
    path: ValuePath,
    read: (file: NamedFile) => T,
    warnOf?: (value: T, file: NamedFile) => string | undefined,
  ): Promise<T | undefined> {
    const name = valueAt(config, path)
    if (typeof name !== 'string' || refused.has(dotted(path))) return undefined
    try {
      const file = { name, ...(await readWhole(name, path.at(-1) === 'passwordFile')) }
      const value = read(file)
      const warning = warnOf?.(value, file)
      if (warning) complaints.push({ path, severity: 'warning', message: warning })
      return value
    } catch (error) {
      if (!(error instanceof UnitError || error instanceof PemError)) throw error
      complaints.push({ path, message: error.message })
      return undefined
    }
  }

  const chain = await open(['server', 'tls', 'certificate'], readChain, warnOfChain)
  await open(['server', 'tls', 'key'], (file) => {
    const key = readKey(file)
    if (chain) checkPair(chain, key)
  })
  await open(['auth', 'htpasswd'], readUsers, warnOfUsers)
  const upstreams = []
  for (const [index, upstream] of (config.upstreams ?? []).entries()) {
    await open(['upstreams', index, 'ca'], readCertificates, warnOfAuthorities)
    const password = await open(['upstreams', index, 'passwordFile'], readPassword, warnOfReaders)
    upstreams.push(password === undefined ? upstream : { ...upstream, password })
  }
  return { config: { ...config, upstreams }, complaints }
}

async function readWhole(name: string, isReadOnce: boolean): Promise<Omit<NamedFile, 'name'>> {
  try {
    const found = await stat(name)
    // It is read again when TLS starts; a pipe would then be empty, and some devices have no end.
    if (!isReadOnce && !found.isFile() && !found.isDirectory()) throw new Error('this is no regular file')
    if (found.size > largestFile) throw new Error('larger than 16 MiB')
    return { bytes: await readFile(name), mode: found.mode, uid: found.uid }
  } catch (error) {
    throw new UnitError(`cannot read ${name}: ${fileFailure(error)}`, { cause: error })
  }
}

/** Whatever is wrong with a line keeps the whole file from being used. */
function readUsers({ name, bytes }: NamedFile): Users {
  try {
    return parseHtpasswd(bytes.toString('utf8'))
  } catch (error) {
    if (!(error instanceof UnitError)) throw error
    throw new UnitError(`${name}: ${error.message}`, { cause: error })
  }
}

/** A newline at its end is cut. */
function readPassword({ name, bytes }: NamedFile): string {
  const password = withoutFinalNewline(bytes.toString('utf8'))
  if (password === '') throw new UnitError(`${name} is empty`)
  return password
}

function warnOfUsers(users: Users, file: NamedFile): string | undefined {
  return users.size === 0 ? `${file.name} holds no user yet: nobody can log in` : warnOfReaders(users, file)
}

/** What root has, or looks at, may be for a service under another user, which 600 would shut out. */
function warnOfReaders(_secret: unknown, { name, mode, uid }: NamedFile): string | undefined {
  if ((mode & 0o004) === 0 || mountedSecret.test(name)) return undefined
  const isOurs = uid !== 0 && uid === process.getuid?.()
  const advice = isOurs
    ? 'chmod 600 it'
    : 'give it to the user that Larder runs as and chmod 600 it, or to a group of that user and chmod 640 it'
  return `${name} can be read by every user of this machine: ${advice}`
}
