import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import bcrypt from 'bcrypt'

/** The header by which somebody logs in. */
export function basic(user: string, password: string): { readonly authorization: string } {
  return { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` }
}

/** A line of a file of users; cheap to check. */
export function userLine(name: string, password: string): string {
  return `${name}:${bcrypt.hashSync(password, 4)}\n`
}

/** A file of users, each with a password; it goes with the test. Returns its path. */
export async function usersFile(t: TestContext, users: Readonly<Record<string, string>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'larder-users-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const path = join(folder, 'htpasswd')
  const lines = Object.entries(users).map(([name, password]) => userLine(name, password))
  await writeFile(path, lines.join(''), { mode: 0o600 })
  return path
}
