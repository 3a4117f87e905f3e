import { readFile, stat } from 'node:fs/promises'
import { fileFailure } from './file-failure.ts'
import { readPasswordFile } from './password-file.ts'
import { checkAuthorities, checkCertificate, checkKey, checkPair, type Finding } from './pem.ts'
import { dotted, type ValuePath, valueAt } from './value-tree.ts'

/** What the files say that a configuration names. */
export interface NamedFiles {
  /** By the index of the upstream. */
  readonly passwords: ReadonlyMap<number, string>
  readonly findings: readonly (Finding & { readonly path: ValuePath })[]
}

/** Bytes; the largest bundles of authorities have a quarter of a megabyte. */
const largestFile = 16 * 1024 * 1024

/**
 * Opens every file that the values name: certificates, keys, authorities, passwords. The values need not be valid:
 * what is wrong with the files is told beside all else that is wrong. `ignored` are dotted paths whose value is not
 * known. Never throws for what the file system says.
 */
export async function readNamedFiles(values: unknown, ignored: ReadonlySet<string>): Promise<NamedFiles> {
  const findings: (Finding & { path: ValuePath })[] = []
  const report = (path: ValuePath, found: readonly Finding[]) =>
    findings.push(...found.map((finding) => ({ ...finding, path })))
  const nameAt = (path: ValuePath): string | undefined => {
    const name = valueAt(values, path)
    return typeof name === 'string' && name.trim() !== '' && !ignored.has(dotted(path)) ? name : undefined
  }
  const open = async (path: ValuePath, check: (name: string, bytes: Buffer) => Finding[]) => {
    const name = nameAt(path)
    if (name === undefined) return undefined
    const { bytes, failure } = await readWhole(name)
    report(path, bytes ? check(name, bytes) : [{ severity: 'error', message: failure }])
    return bytes && { path: name, bytes }
  }
  const certificate = await open(['server', 'tls', 'certificate'], checkCertificate)
  const key = await open(['server', 'tls', 'key'], checkKey)
  if (certificate && key) report(['server', 'tls', 'key'], checkPair(certificate, key))
  const passwords = new Map<number, string>()
  const upstreams = valueAt(values, ['upstreams'])
  for (const index of Array.isArray(upstreams) ? upstreams.keys() : []) {
    await open(['upstreams', index, 'ca'], checkAuthorities)
    const path = ['upstreams', index, 'passwordFile']
    const name = nameAt(path)
    if (name === undefined) continue
    const { password, problem } = await readPasswordFile(name)
    if (password !== undefined) passwords.set(index, password)
    if (problem) report(path, [problem])
  }
  return { passwords, findings }
}

type Content =
  | { readonly bytes: Buffer; readonly failure?: undefined }
  | { readonly bytes?: undefined; readonly failure: string }

async function readWhole(name: string): Promise<Content> {
  try {
    const found = await stat(name)
    if (found.isDirectory()) return { failure: `cannot read ${name}: this is a folder, not a file` }
    // It is read again when TLS starts; a pipe would then be empty, and some devices have no end.
    if (!found.isFile()) return { failure: `cannot read ${name}: this is no regular file` }
    if (found.size > largestFile) return { failure: `cannot read ${name}: larger than 16 MiB` }
    return { bytes: await readFile(name) }
  } catch (error) {
    return { failure: `cannot read ${name}: ${fileFailure(error)}` }
  }
}
