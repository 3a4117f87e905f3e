import { once } from 'node:events'
import { cp, mkdir, mkdtemp, open, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { type BackgroundProcess, startInBackground } from '../support/child-process.ts'
import { until } from '../support/settle.ts'
import { type Coverage, coverageIn } from './coverage.ts'

const project = resolve(import.meta.dirname, '../..')
/** Everything that tests read beside packages. */
const parts = [
  'src',
  'test',
  'benchmarks',
  'docs',
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'mirror.yml',
  'mirror.schema.json',
]

/** Milliseconds that a test file may take without any mutant. */
const longestMs = 300_000

/** What a test file does without any mutant. */
export interface Baseline {
  readonly tookMs: number
  readonly coverage: Coverage
}

export type Outcome = 'passed' | 'failed' | 'out of time'

/** A copy of the project, to be changed and tested. Dispose to remove it. */
export class Workshop implements AsyncDisposable {
  readonly folder: string

  private constructor(folder: string) {
    this.folder = folder
  }

  static async open(): Promise<Workshop> {
    const folder = await mkdtemp(join(tmpdir(), 'larder-mutants-'))
    for (const part of parts) await cp(join(project, part), join(folder, part), { recursive: true })
    await symlink(join(project, 'node_modules'), join(folder, 'node_modules'))
    await mkdir(join(folder, 'tmp'))
    return new Workshop(folder)
  }

  /**
   * Runs a test file with a source file changed. It is out of time where it takes many times what it takes without the
   * change: `tookMs`, and if that is not enough what it takes now, on a machine that may have become busy.
   */
  async test(
    test: string,
    change: { readonly file: string; readonly source: string },
    tookMs: number,
  ): Promise<Outcome> {
    const first = await this.#changed(test, change, allowedMs(tookMs))
    if (first !== 'out of time') return first
    const { tookMs: nowMs } = await this.#timed(test)
    return nowMs > 1.5 * tookMs ? this.#changed(test, change, allowedMs(nowMs)) : first
  }

  /** Runs a test file as it is. Undefined where it fails. */
  async baseline(test: string): Promise<Baseline | undefined> {
    const written = join(this.folder, 'coverage')
    try {
      const { outcome, tookMs } = await this.#timed(test, { NODE_V8_COVERAGE: written })
      if (outcome !== 'passed') return undefined
      const reports = (await readdir(written)).map((name) => join(written, name))
      return { coverage: await coverageIn(reports, this.folder), tookMs }
    } finally {
      await rm(written, { recursive: true, force: true })
    }
  }

  async #changed(
    test: string,
    { file, source }: { readonly file: string; readonly source: string },
    timeoutMs: number,
  ): Promise<Outcome> {
    const path = join(this.folder, file)
    const original = await readFile(path)
    await writeFile(path, source)
    try {
      return await this.#run(test, timeoutMs)
    } finally {
      await writeFile(path, original)
    }
  }

  async #timed(
    test: string,
    environment: Record<string, string> = {},
  ): Promise<{ readonly outcome: Outcome; readonly tookMs: number }> {
    const startedAt = performance.now()
    const outcome = await this.#run(test, longestMs, environment)
    return { outcome, tookMs: performance.now() - startedAt }
  }

  /** Ends at the first test that fails: nobody waits for the others, nor for what keeps the process. */
  async #run(test: string, timeoutMs: number, environment: Record<string, string> = {}): Promise<Outcome> {
    const [temporary, log] = [join(this.folder, 'tmp'), join(this.folder, 'output')]
    await using output = await open(log, 'w')
    const child = startInBackground('node', ['--max-old-space-size=1024', '--test-reporter=tap', test], {
      workingDirectory: this.folder,
      environment: { HOME: temporary, TMPDIR: temporary, ...environment },
      output: output.fd,
    })
    const ended = once(child, 'exit')
    const isEnded = (): boolean => child.exitCode !== null || child.signalCode !== null
    const isSettled = async (): Promise<boolean> =>
      isEnded() || /^ *not ok /m.test(await readFile(log, 'utf8'))
    try {
      await until(isSettled, { timeoutMs, intervalMs: 50 })
      return child.exitCode === 0 ? 'passed' : 'failed'
    } catch {
      return 'out of time'
    } finally {
      killGroupOf(child)
      await ended
      await rm(temporary, { recursive: true, force: true }).catch(() => {})
      await mkdir(temporary, { recursive: true })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** Milliseconds for a test file that took `tookMs`: what it cannot use up by a machine that is a little busier. */
function allowedMs(tookMs: number): number {
  return 4 * tookMs + 4000
}

/** With what it has started itself. */
function killGroupOf({ pid }: BackgroundProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch {
    // All of it has ended.
  }
}
