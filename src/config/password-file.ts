import { readFile, stat } from 'node:fs/promises'
import { fileFailure } from './file-failure.ts'
import { withoutFinalNewline } from './text-value.ts'

/** What a password file says, or what is wrong with it. */
export interface PasswordFile {
  readonly password: string | undefined
  readonly problem: { readonly severity: 'error' | 'warning'; readonly message: string } | undefined
}

// Container runtimes mount secrets readable to all, inside a file system that only the container sees.
const mountedSecret = /^(?:\/var)?\/run\/secrets\//

/** Reads a password file; a newline at its end is cut. Never throws for what the file system says. */
export async function readPasswordFile(path: string): Promise<PasswordFile> {
  let password: string
  let mode: number
  try {
    password = withoutFinalNewline(await readFile(path, 'utf8'))
    mode = (await stat(path)).mode
  } catch (error) {
    return {
      password: undefined,
      problem: { severity: 'error', message: `cannot read ${path}: ${fileFailure(error)}` },
    }
  }
  if (password === '')
    return { password: undefined, problem: { severity: 'error', message: `${path} is empty` } }
  const isOpen = (mode & 0o004) !== 0 && !mountedSecret.test(path)
  const message = `${path} can be read by every user of this machine: chmod 600 it`
  return { password, problem: isOpen ? { severity: 'warning', message } : undefined }
}
