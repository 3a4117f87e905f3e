import { once } from 'node:events'
import { type ForkedNode, forkNode } from '../../test/support/child-process.ts'
import type {
  HubAnswer,
  HubCall,
  HubControl,
  HubPlace,
  HubProcessOptions,
  ImageRequest,
  ImageSummary,
  Traffic,
} from './hub-control.ts'
import type { Trace } from './line-trace.ts'

/**
 * The look-alike of Docker Hub behind its line, in a process of its own, so that neither its time nor its memory
 * is counted as anybody else's. Dispose to end it.
 */
export class HubProcess implements AsyncDisposable {
  readonly #child: ForkedNode
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>()
  #calls = 0
  #place: HubPlace = { url: '', ca: undefined }

  private constructor(child: ForkedNode) {
    this.#child = child
  }

  static async start(options: HubProcessOptions = {}): Promise<HubProcess> {
    const child = forkNode(new URL('./hub-child.ts', import.meta.url))
    const hub = new HubProcess(child)
    child.on('message', (answer: HubAnswer) => hub.#settle(answer))
    child.on('exit', () => hub.#abandon())
    hub.#place = await hub.#call('start', options)
    return hub
  }

  /** The registry's base, without a slash at the end. */
  get url(): string {
    return this.#place.url
  }

  /** The authority (PEM) that signed its certificate; undefined where it does not speak TLS. */
  get ca(): string | undefined {
    return this.#place.ca
  }

  addImage(options: ImageRequest): Promise<ImageSummary> {
    return this.#call('addImage', options)
  }

  traffic(): Promise<Traffic> {
    return this.#call('traffic')
  }

  trace(): Promise<Trace> {
    return this.#call('trace')
  }

  fault(...parameters: Parameters<HubControl['fault']>): Promise<void> {
    return this.#call('fault', ...parameters)
  }

  clearFaults(): Promise<void> {
    return this.#call('clearFaults')
  }

  cutLine(): Promise<void> {
    return this.#call('cutLine')
  }

  mendLine(): Promise<void> {
    return this.#call('mendLine')
  }

  silenceLine(): Promise<void> {
    return this.#call('silenceLine')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await ended
  }

  #call<Method extends keyof HubControl>(
    method: Method,
    ...parameters: Parameters<HubControl[Method]>
  ): ReturnType<HubControl[Method]> {
    const id = ++this.#calls
    const answer = Promise.withResolvers<unknown>()
    this.#waiting.set(id, answer)
    const call: HubCall = { id, method, parameters }
    this.#child.send(call, (error) => error && answer.reject(error))
    return answer.promise as ReturnType<HubControl[Method]>
  }

  #settle(answer: HubAnswer): void {
    const waiting = this.#waiting.get(answer.id)
    this.#waiting.delete(answer.id)
    if ('failure' in answer) waiting?.reject(new Error(answer.failure))
    else waiting?.resolve(answer.result)
  }

  #abandon(): void {
    for (const { reject } of this.#waiting.values()) reject(new Error('the look-alike has ended'))
  }
}
