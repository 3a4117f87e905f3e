import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { mkdtemp, open, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type BackgroundProcess,
  type Startable,
  startInBackground,
} from '../../test/support/child-process.ts'
import { freePort } from '../../test/support/free-port.ts'
import { type CpuTime, cpuTimeOf, listenerOf, memoryOf, resetPeakOf } from './process-figures.ts'

/** What a server is given. */
export interface Place {
  readonly port: number
  readonly directory: string
}

export interface ServerCommand {
  readonly program: Startable
  readonly arguments: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
}

/** Some build themselves first. */
const startMs = 60_000
const graceMs = 5000
/** Milliseconds without work after which a server is taken to have done everything that it was asked for. */
const idleMs = 1500
/** Seconds of processor time that are no work. */
const idleSeconds = 0.02
const settleMs = 300_000

/** A server under test: a child process with a folder of its own. Dispose to stop it and remove the folder. */
export class ServerProcess implements AsyncDisposable {
  /** Without a slash at the end. */
  readonly url: string
  /** Its own; the output is in the file `output` of it. */
  readonly directory: string
  /** Of the process that listens, which may be one that the program has started. */
  readonly #pid: number
  readonly #parts: AsyncDisposableStack

  private constructor(place: { url: string; directory: string; pid: number }, parts: AsyncDisposableStack) {
    this.url = place.url
    this.directory = place.directory
    this.#pid = place.pid
    this.#parts = parts
  }

  /**
   * Starts what `describe` tells for a free port and an empty folder, and waits until `/v2/` answers. Its output
   * goes to a file. Rejects, with the end of that output, where it does not come up.
   */
  static async start(
    describe: (place: Place) => ServerCommand | Promise<ServerCommand>,
  ): Promise<ServerProcess> {
    await using building = new AsyncDisposableStack()
    const directory = await mkdtemp(join(tmpdir(), 'larder-bench-'))
    building.defer(() => rm(directory, { recursive: true, force: true }))
    const port = await freePort()
    const { program, arguments: parameters, environment = {} } = await describe({ port, directory })
    const log = building.use(await open(join(directory, 'output'), 'w+'))
    // Ctrl-C is for whoever started this, who then stops the server; a proxy of theirs is not for it either.
    const running = { environment, workingDirectory: directory, output: log.fd }
    const child = startInBackground(program, parameters, running)
    building.defer(() => end(child))
    building.use(endWithUs(child, directory))
    const url = `http://127.0.0.1:${port}`
    const failure = once(child, 'error').then(([error]) => Promise.reject(error))
    if (!(await Promise.race([isAnswering(`${url}/v2/`, child), failure]))) {
      const output = await readFile(join(directory, 'output'), 'utf8')
      throw new Error(`${program} does not answer:\n${output.slice(-2000)}`)
    }
    const pid = await listenerOf(port, child.pid ?? Number.NaN)
    return new ServerProcess({ url, directory, pid }, building.move())
  }

  /** Seconds of processor time so far, user and system together. */
  async cpuSeconds(): Promise<number> {
    const { user, system } = await this.cpuTime()
    return user + system
  }

  cpuTime(): Promise<CpuTime> {
    return cpuTimeOf(this.#pid)
  }

  /** The bytes of memory that it holds. */
  async memory(): Promise<number> {
    return (await memoryOf(this.#pid)).now
  }

  /** The most bytes of memory that it held at a time, since it began or `resetPeak`. */
  async peakMemory(): Promise<number> {
    return (await memoryOf(this.#pid)).peak
  }

  resetPeak(): Promise<void> {
    return resetPeakOf(this.#pid)
  }

  /**
   * Waits until it does nothing any more, and returns its processor time by then: what it does behind its clients'
   * back is counted. Rejects where it does not come to rest.
   */
  async settled(signal: AbortSignal): Promise<CpuTime> {
    const until = performance.now() + settleMs
    for (let last = await this.cpuSeconds(); performance.now() < until; ) {
      await sleep(idleMs, undefined, { signal })
      const time = await this.cpuTime()
      if (time.user + time.system - last < idleSeconds) return time
      last = time.user + time.system
    }
    throw new Error('the server does not come to rest')
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#parts.disposeAsync()
  }
}

async function isAnswering(url: string, child: BackgroundProcess): Promise<boolean> {
  for (const until = performance.now() + startMs; performance.now() < until; await sleep(20)) {
    if (child.exitCode !== null || child.signalCode !== null) return false
    try {
      const response = await fetch(url)
      await response.arrayBuffer()
      return true
    } catch (error) {
      // fetch's way to say that nobody listens yet.
      if (!(error instanceof TypeError)) throw error
    }
  }
  return false
}

/** Where this process ends without disposing of anything, by a defect say, nothing must be left behind. */
function endWithUs(child: BackgroundProcess, directory: string): Disposable {
  const onExit = (): void => {
    killAll(child)
    rmSync(directory, { recursive: true, force: true })
  }
  process.on('exit', onExit)
  return { [Symbol.dispose]: () => void process.off('exit', onExit) }
}

async function end(child: BackgroundProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  const timer = setTimeout(() => killAll(child), graceMs)
  await ended
  clearTimeout(timer)
}

/** With what it has started: it leads a group. */
function killAll(child: BackgroundProcess): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  process.kill(-child.pid, 'SIGKILL')
}
