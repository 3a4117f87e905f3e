import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from '../../support/child-process.ts'
import { type LarderProcess, startLarder } from './larder-process.ts'

/** Somebody who may push, or would like to. */
export interface User {
  readonly user: string
  readonly password: string
}

export const alice: User = { user: 'alice', password: 'correct horse battery staple' }

/** The lines of a file of users, as `htpasswd` writes them. Needs the program of that name. */
export async function htpasswdFile(users: readonly User[]): Promise<string> {
  const lines = users.map(({ user, password }) => run('htpasswd', ['-nbB', user, password]))
  return (await Promise.all(lines)).map((line) => `${line.trim()}\n`).join('')
}

/** A Larder of which alice is a user, as `htpasswd` makes her one, with its data in `folder`. */
export async function startWithUsers(folder: string, upstream: string): Promise<LarderProcess> {
  const users = join(folder, 'users')
  await writeFile(users, await htpasswdFile([alice]), { mode: 0o600 })
  return startLarder({
    directory: join(folder, 'data'),
    upstreams: [{ name: 'docker.io', url: upstream }],
    environment: { MIRROR_AUTH_HTPASSWD: users },
  })
}

/** The names of the files below a folder that hold one of some words, also as Basic authentication writes it. */
export async function filesThatHold(folder: string, words: readonly string[]): Promise<string[]> {
  const files = await readdir(folder, { recursive: true, withFileTypes: true })
  const found = files
    .filter((file) => file.isFile())
    .map(async (file) => {
      const path = join(file.parentPath, file.name)
      const content = await readFile(path)
      return words.some((word) => content.includes(word)) ? [path] : []
    })
  return (await Promise.all(found)).flat()
}

/** How a login may be found: as it is, and as `Authorization: Basic` has it. */
export function tracesOf({
  user,
  password,
  identityToken = '',
}: User & { identityToken?: string }): string[] {
  const basic = Buffer.from(`${user}:${password}`).toString('base64')
  return [password, identityToken, basic].filter((text) => text !== '')
}
