import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { until } from '../../support/settle.ts'
import { programPath } from './programs.ts'

export type RunOptions = {
  /** Added to a PATH; nothing else is inherited. */
  readonly environment?: Readonly<Record<string, string>>
  readonly workingDirectory?: string
  /** Milliseconds after which it is killed; 60 s unless set. */
  readonly timeoutMs?: number
}

/** How a program ended. */
export type Finished = { readonly code: number; readonly stdout: string; readonly stderr: string }

/** Runs a program to its end. Rejects where it cannot be started, or does not end in time. */
export function finish(
  program: string,
  parameters: readonly string[],
  options: RunOptions = {},
): Promise<Finished> {
  const { timeoutMs: timeout = 60_000 } = options
  const { promise, resolve, reject } = Promise.withResolvers<Finished>()
  const settings = { ...spawnSettings(options), timeout, killSignal: 'SIGKILL', maxBuffer: 2 ** 26 } as const
  execFile(program, parameters, settings, (error, stdout, stderr) => {
    const code = error === null ? 0 : error.code
    if (typeof code === 'number') resolve({ code, stdout, stderr })
    else reject(new Error(`${program} ${parameters.join(' ')}\n${stderr}`, { cause: error }))
  })
  return promise
}

/** Runs a program and returns what it printed on stdout. Rejects with what it said where it exits with another code than 0. */
export async function run(
  program: string,
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

  static start(program: string, parameters: readonly string[], options: RunOptions = {}): ChildServer {
    return new ChildServer(
      spawn(program, parameters, { ...spawnSettings(options), stdio: ['ignore', 'pipe', 'pipe'] }),
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
  async end(signal: 'SIGTERM' | 'SIGKILL', timeoutMs = 20_000): Promise<number | undefined> {
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

function spawnSettings({ environment, workingDirectory }: RunOptions) {
  return { env: { PATH: programPath, ...environment }, cwd: workingDirectory ?? '/' }
}

async function collect(stream: Readable | null, into: string[]): Promise<void> {
  if (stream === null) return
  for await (const text of stream.setEncoding('utf8')) into.push(text)
}
