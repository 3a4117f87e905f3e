import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { finish } from '../support/child-process.ts'
import { type Coverage, coverageIn } from './coverage.ts'

const project = resolve(import.meta.dirname, '../..')
/** Everything that tests read beside packages. */
const parts = [
  'src',
  'test',
  'benchmarks',
  'docs',
  'package.json',
  'tsconfig.json',
  'mirror.yml',
  'mirror.schema.json',
]

/** A copy of the project, to be changed and tested. Dispose to remove it. */
export class Workshop implements AsyncDisposable {
  readonly #folder: string

  private constructor(folder: string) {
    this.#folder = folder
  }

  static async open(): Promise<Workshop> {
    const folder = await mkdtemp(join(tmpdir(), 'larder-mutants-'))
    for (const part of parts) await cp(join(project, part), join(folder, part), { recursive: true })
    await symlink(join(project, 'node_modules'), join(folder, 'node_modules'))
    await mkdir(join(folder, 'tmp'))
    return new Workshop(folder)
  }

  /** Runs a test file with a source file changed. `outOfTime`: it had not ended after `timeoutMs`. */
  async test(
    test: string,
    change: { readonly file: string; readonly source: string },
    timeoutMs: number,
  ): Promise<'passed' | 'failed' | 'out of time'> {
    const path = join(this.#folder, change.file)
    const original = await readFile(path)
    await writeFile(path, change.source)
    try {
      return await this.#run(test, timeoutMs)
    } finally {
      await writeFile(path, original)
    }
  }

  /** Runs a test file as it is: what it executes, and how long it takes. Throws where it fails. */
  async cover(test: string, timeoutMs: number): Promise<{ coverage: Coverage; tookMs: number }> {
    const written = join(this.#folder, 'coverage')
    const startedAt = performance.now()
    const outcome = await this.#run(test, timeoutMs, { NODE_V8_COVERAGE: written })
    const tookMs = performance.now() - startedAt
    if (outcome !== 'passed') throw new Error(`${test} ${outcome} without any mutant`)
    const reports = (await readdir(written)).map((name) => join(written, name))
    const coverage = await coverageIn(reports, this.#folder)
    await rm(written, { recursive: true })
    return { coverage, tookMs }
  }

  async #run(test: string, timeoutMs: number, environment: Record<string, string> = {}) {
    const temporary = join(this.#folder, 'tmp')
    try {
      const { code } = await finish('node', ['--max-old-space-size=1024', test], {
        workingDirectory: this.#folder,
        environment: { HOME: temporary, TMPDIR: temporary, ...environment },
        timeoutMs: Math.ceil(timeoutMs),
      })
      return code === 0 ? 'passed' : 'failed'
    } catch (error) {
      // Killed, or dead in another way than by its own choice.
      const isStarted = error instanceof Error && error.cause instanceof Error && 'killed' in error.cause
      if (isStarted) return 'out of time'
      throw error
    } finally {
      await rm(temporary, { recursive: true, force: true }).catch(() => {})
      await mkdir(temporary, { recursive: true })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 5 })
  }
}
