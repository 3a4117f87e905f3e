/**
 * Builds `dist/` from `src/`; with `--if-stale` only where it was not built from just these sources: the scripts that
 * run the program begin with that. What is said goes to stderr: stdout belongs to what is started. Exits with 1 where it
 * could not be built, with 130 where it was interrupted.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'

const project = resolve(import.meta.dirname, '..')
const dist = join(project, 'dist')
/** Holds the fingerprint of what `dist/` was built from. */
const stampName = '.built-from'
const stamp = join(dist, stampName)
const compiler = join(project, 'node_modules/.bin/tsc')

/** Of the contents, not of the times: an older version that is unpacked over this one brings older times. */
function fingerprint(): string {
  const hash = createHash('sha256')
  for (const source of globSync(['src/**/*.ts', 'tsconfig*.json', 'package-lock.json'], {
    cwd: project,
  }).sort()) {
    const text = readFileSync(join(project, source))
    hash.update(`${source} ${text.length}\n`).update(text)
  }
  return `${hash.digest('hex')}\n`
}

function isBuiltFrom(sources: string): boolean {
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === sources
}

/** Throws where it cannot be built; what lies in `dist/` is then as it was. */
function build(sources: string): void {
  if (!existsSync(compiler)) {
    throw new Error(
      'the compiler is not installed. It is a development dependency: "npm ci --include=dev" installs these',
    )
  }
  // As deep as dist/, for the paths in the source maps.
  const fresh = mkdtempSync(join(project, 'dist-'))
  try {
    const { status, error } = spawnSync(compiler, ['-p', 'tsconfig.build.json', '--outDir', fresh], {
      cwd: project,
      stdio: ['ignore', 2, 2],
    })
    if (error) throw error
    if (status !== 0) throw new Error('what is wrong with the sources stands above')
    replaceBy(fresh, sources)
  } finally {
    rmSync(fresh, { recursive: true, force: true })
  }
}

/**
 * File by file, each of them whole at any time: another one may build the same, or start from it, meanwhile. What is
 * built no longer goes, and the stamp is there only while all the rest is.
 */
function replaceBy(fresh: string, sources: string): void {
  rmSync(stamp, { force: true })
  const built = filesIn(fresh)
  for (const file of built) put(fresh, file)
  for (const file of filesIn(dist)) if (!built.includes(file)) rmSync(join(dist, file), { force: true })
  writeFileSync(join(fresh, stampName), sources)
  put(fresh, stampName)
}

function put(fresh: string, file: string): void {
  mkdirSync(dirname(join(dist, file)), { recursive: true })
  renameSync(join(fresh, file), join(dist, file))
}

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
}

// Ctrl-C ends the compiler, and this once it has cleared up.
let isInterrupted = false
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => {
    isInterrupted = true
  })

const sources = fingerprint()
if (!process.argv.includes('--if-stale') || !isBuiltFrom(sources)) {
  process.stderr.write('building dist/ from src/, which takes some seconds\n')
  try {
    build(sources)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    process.stderr.write(`dist/ could not be built: ${why}\n`)
    process.exitCode = 1
  }
  setImmediate(() => {
    if (isInterrupted) process.exitCode = 130
  })
}
