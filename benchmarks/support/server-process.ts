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

export interface ServerCommand {
  readonly program: Startable
  readonly arguments: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
}

const startMs = 15_000
const graceMs = 5000
/** Of `/proc/<pid>/stat`; Linux has no other value. */
const ticksPerSecond = 100

/** A server under test: a child process with a folder of its own. Dispose to stop it and remove the folder. */
export class ServerProcess implements AsyncDisposable {
  /** Without a slash at the end. */
  readonly url: string
  readonly #child: BackgroundProcess
  readonly #parts: AsyncDisposableStack

  private constructor(url: string, child: BackgroundProcess, parts: AsyncDisposableStack) {
    this.url = url
    this.#child = child
    this.#parts = parts
  }

  /**
   * Starts what `describe` tells for a free port and an empty folder, and waits until `/v2/` answers. Its output
   * goes to a file. Rejects, with the end of that output, where it does not come up.
   */
  static async start(
    describe: (place: { port: number; directory: string }) => ServerCommand | Promise<ServerCommand>,
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
    return new ServerProcess(url, child, building.move())
  }

  /** Seconds of processor time so far, user and system together. */
  async cpuSeconds(): Promise<number> {
    const stat = await readFile(`/proc/${this.#child.pid}/stat`, 'utf8')
    // The name in parentheses may hold anything; what follows it starts with the third field.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
  }

  /** The most bytes of memory that it ever held at a time. */
  async peakMemory(): Promise<number> {
    const status = await readFile(`/proc/${this.#child.pid}/status`, 'utf8')
    return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1]) * 1024
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
    child.kill('SIGKILL')
    rmSync(directory, { recursive: true, force: true })
  }
  process.on('exit', onExit)
  return { [Symbol.dispose]: () => void process.off('exit', onExit) }
}

async function end(child: BackgroundProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), graceMs)
  await ended
  clearTimeout(timer)
}
