import { type ChildProcess, execFile, fork, type StdioOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { delimiter } from 'node:path'
import type { Readable } from 'node:stream'
import { compileCache } from './compile-cache.ts'
import { memoryChecks } from './memory-checks.ts'
import {
  describe,
  foldersOf,
  type Launcher,
  type ProgramName,
  pathOf,
  programPath,
  programs,
} from './programs.ts'
import { until } from './settle.ts'

/** What can be started: a program of the table, or the Node that runs this. */
export type Startable = ProgramName | 'node'

export type RunOptions = {
  /** Added to a PATH; nothing else is inherited. */
  readonly environment?: Readonly<Record<string, string>>
  /** What starts it, the outermost first, such as `[['unshare', '--net']]`. */
  readonly by?: readonly (readonly [Launcher, ...string[]])[]
  /** Programs that it starts itself: their folders come first in its PATH. */
  readonly beside?: readonly ProgramName[]
  readonly workingDirectory?: string
  /** Milliseconds after which it is killed; 60 s unless set. */
  readonly timeoutMs?: number
  /** Kills it. */
  readonly signal?: AbortSignal
}

/** How a program ended. */
export type Finished = { readonly code: number; readonly stdout: string; readonly stderr: string }

/**
 * Runs a program to its end. Rejects where it cannot be started, is not in the table of programs, or does not end
 * in time.
 */
export async function finish(
  program: Startable,
  parameters: readonly string[],
  options: RunOptions = {},
): Promise<Finished> {
  const { timeoutMs: timeout = 60_000 } = options
  const [file, ...rest] = commandLine(program, parameters, options)
  const { promise, resolve, reject } = Promise.withResolvers<Finished>()
  const settings = { ...spawnSettings(options), timeout, maxBuffer: 2 ** 26 }
  execFile(file, rest, settings, (error, stdout, stderr) => {
    const code = error === null ? 0 : error.code
    if (typeof code === 'number') resolve({ code, stdout, stderr })
    else reject(new Error(`${program} ${parameters.join(' ')}\n${stderr}`, { cause: error }))
  })
  return promise
}

/** Runs a program and returns what it printed on stdout. Rejects with what it said where it exits with another code than 0. */
export async function run(
  program: Startable,
  parameters: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const { code, stdout, stderr } = await finish(program, parameters, options)
  if (code !== 0) {
    throw new Error(`${program} ${parameters.join(' ')} exited with ${code}:\n${stderr}${stdout}`)
  }
  return stdout
}

/** A program that goes on until it is stopped. Dispose to end it, kindly first. */
export class ChildServer implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #stdout: string[] = []
  readonly #stderr: string[] = []
  readonly #closed: Promise<unknown>

  private constructor(child: ChildProcess) {
    this.#child = child
    this.#closed = Promise.all([
      // Closed, not ended: what it said last has then been read.
      once(child, 'close'),
      collect(child.stdout, this.#stdout),
      collect(child.stderr, this.#stderr),
    ])
    // Where it cannot be started, whoever waits for its readiness is told.
    this.#closed.catch((error: unknown) => this.#stderr.push(String(error)))
  }

  /** Throws where the program is not in the table of programs, or not installed. */
  static start(program: Startable, parameters: readonly string[], options: RunOptions = {}): ChildServer {
    const [file, ...rest] = commandLine(program, parameters, options)
    return new ChildServer(
      spawn(file, rest, { ...spawnSettings(options), stdio: ['ignore', 'pipe', 'pipe'] }),
    )
  }

  get stdout(): string {
    return this.#stdout.join('')
  }

  get stderr(): string {
    return this.#stderr.join('')
  }

  get hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null || this.#child.pid === undefined
  }

  /** Waits until `condition` holds; rejects with all that the program said where it ends before. */
  async ready(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
    try {
      await until(
        async () => {
          if (this.hasEnded) throw new Error('it ended')
          return condition()
        },
        { what, timeoutMs: 30_000, intervalMs: 20 },
      )
    } catch (error) {
      await this[Symbol.asyncDispose]()
      throw new Error(`${this.#child.spawnfile}: ${what}\n${this.stdout}${this.stderr}`, { cause: error })
    }
  }

  /** Sends a signal and returns the exit code, or undefined where a signal ended it. Rejects after `timeoutMs`. */
  async end(signal: 'SIGTERM' | 'SIGKILL' | 'SIGUSR2', timeoutMs = 20_000): Promise<number | undefined> {
    if (!this.hasEnded) this.#child.kill(signal)
    await until(() => this.hasEnded, { timeoutMs, what: `${this.#child.spawnfile} ends by ${signal}` })
    await this.#closed
    return this.#child.exitCode ?? undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.pid === undefined) return
    try {
      await this.end('SIGTERM')
    } catch (error) {
      await this.end('SIGKILL')
      throw error
    }
  }
}

/** A program that has been started, and that its starter has to end. */
export type BackgroundProcess = ChildProcess

/**
 * Starts a program with its output in a file and in a process group of its own; it reads nothing but what `input` has.
 * Throws as `ChildServer.start` does.
 */
export function startInBackground(
  program: Startable,
  parameters: readonly string[],
  { output, input, ...options }: RunOptions & { readonly output: number; readonly input?: number },
): BackgroundProcess {
  const [file, ...rest] = commandLine(program, parameters, options)
  const stdio = [input ?? 'ignore', output, output] satisfies StdioOptions
  return spawn(file, rest, { ...spawnSettings(options), stdio, detached: true })
}

/** A Node of its own that can be sent messages. */
export type ForkedNode = ChildProcess

/** Runs a module of the project in a Node of its own, with its stdout here, in a file, or in a pipe for whoever reads it. */
export function forkNode(
  module: URL,
  parameters: readonly string[] = [],
  { output = 'inherit', ...options }: RunOptions & { readonly output?: number | 'pipe' | 'inherit' } = {},
): ForkedNode {
  const stdio = ['inherit', output, 'inherit', 'ipc'] satisfies StdioOptions
  return fork(module, parameters, { ...spawnSettings(options), execArgv: [], stdio })
}

/** What is to be executed. Throws where a program of it is not in the table, or not installed. */
function commandLine(
  program: Startable,
  parameters: readonly string[],
  { by = [] }: RunOptions = {},
): [string, ...string[]] {
  if (isLauncher(program))
    throw new Error(`${program} starts another program: name that one, and this as its "by"`)
  const [file, ...rest] = [...by.flatMap(launcherCommand), located(program), ...parameters]
  return [file ?? '', ...rest]
}

function launcherCommand([launcher, ...parameters]: readonly [Launcher, ...string[]]): string[] {
  if (!isLauncher(launcher)) throw new Error(`${launcher} is not known as a program that starts another one`)
  return [located(launcher), ...parameters]
}

function isLauncher(name: Startable): boolean {
  return Object.hasOwn(programs, name) && 'starts' in programs[name as ProgramName]
}

function located(name: Startable): string {
  if (name === 'node') return process.execPath
  const path = pathOf(name)
  if (path === undefined) throw new Error(`this machine has no ${describe(name)}`)
  return path
}

function spawnSettings({ environment, beside = [], workingDirectory, signal }: RunOptions) {
  const path = [...foldersOf(beside), programPath].join(delimiter)
  const env = { PATH: path, ...memoryChecks, ...compileCache, ...environment }
  return { env, cwd: workingDirectory ?? '/', killSignal: 'SIGKILL', ...(signal && { signal }) } as const
}

async function collect(stream: Readable | null, into: string[]): Promise<void> {
  if (stream === null) return
  for await (const text of stream.setEncoding('utf8')) into.push(text)
}
