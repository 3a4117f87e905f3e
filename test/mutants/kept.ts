import { createHash } from 'node:crypto'
import { globSync, readFileSync } from 'node:fs'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const folder = join(tmpdir(), 'larder-mutants-kept')

/**
 * What earlier runs found out, kept in the folder for temporary files, by a key that is another one as soon as anything
 * is that it depends on. Undefined is not kept.
 */
export async function kept<Value>(key: string, findOut: () => Promise<Value>): Promise<Value> {
  const path = join(folder, `${key}.json`)
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Value
  } catch {
    const value = await findOut()
    if (value === undefined) return value
    await mkdir(folder, { recursive: true })
    await writeFile(`${path}.${process.pid}`, JSON.stringify(value))
    await rename(`${path}.${process.pid}`, path)
    return value
  }
}

export function hashOf(...parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex')
}

/** A key of all that test files have in common: the source, what tests share, the packages. */
export function keyOfProject(): string {
  const files = globSync(['src/**/*.{ts,sql}', 'test/**/*.ts', 'package-lock.json'], {
    exclude: (path) => path.endsWith('.test.ts') || path === 'test/mutants',
  })
  return hashOf(process.version, ...files.sort().flatMap((file) => [file, readFileSync(file, 'utf8')]))
}
