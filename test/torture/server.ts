import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ForkedNode, forkNode } from '../support/child-process.ts'
import { compileCache } from '../support/compile-cache.ts'
import { busyCache } from './larder.ts'

/** Larders in a process of their own. */
export interface TortureServer {
  /** Of each of them, in the order of their folders. */
  readonly urls: readonly string[]
  /** Milliseconds from the moment at which it was told to begin, its modules loaded, to the last one's first answer. */
  readonly startMs: number
  /** As `kill -9`. */
  kill(): Promise<void>
}

/**
 * Starts one process after the other, each with a Larder in each of the same folders. The next one loads its modules while
 * one is at work. Dispose to kill what is left.
 */
export class TortureServers implements AsyncDisposable {
  readonly #parameters: readonly string[]
  #spare: { readonly child: ForkedNode; readonly loaded: Promise<unknown> } | undefined
  #running: ForkedNode | undefined

  /** `upstream`: the URL of what they mirror; `config`: more of the configuration, in the form of mirror.yml. */
  constructor(
    folders: readonly string[],
    upstream: string,
    config: Readonly<Record<string, unknown>> = busyCache,
  ) {
    this.#parameters = [upstream, JSON.stringify(config), ...folders]
  }

  /**
   * `killAfterMs`: it is killed after so many milliseconds if it does not answer before: undefined then. Throws where it
   * ends otherwise.
   */
  async start(killAfterMs?: number): Promise<TortureServer | undefined> {
    const { child, loaded } = this.#spare ?? this.#load()
    this.#spare = this.#load()
    await loaded
    this.#running = child
    const startedAt = performance.now()
    const answered = once(child, 'message')
    const ended = once(child, 'exit').then(() => undefined)
    child.send('go')
    const timer = killAfterMs === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), killAfterMs)
    const first = await Promise.race([answered, ended])
    clearTimeout(timer)
    if (!first) {
      if (child.signalCode !== 'SIGKILL') throw new Error(`it ended at its start: ${child.exitCode}`)
      return undefined
    }
    const { ports } = first[0] as { ports: readonly number[] }
    return {
      urls: ports.map((port) => `http://127.0.0.1:${port}`),
      startMs: performance.now() - startedAt,
      kill: () => killed(child),
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#running) await killed(this.#running)
    if (this.#spare) await killed(this.#spare.child)
  }

  #load() {
    const child = forkNode(new URL('./server-child.ts', import.meta.url), this.#parameters, {
      environment: { NODE_COMPILE_CACHE: join(tmpdir(), 'larder-torture-cache'), ...compileCache },
    })
    return { child, loaded: once(child, 'message') }
  }
}

async function killed(child: ForkedNode): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}
