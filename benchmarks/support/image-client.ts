import { createHash } from 'node:crypto'
import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import https from 'node:https'
import type { BlobSummary, ImageSummary } from './hub-control.ts'
import { manifestHeaders } from './pulls.ts'

/** Layers at a time, as Docker has it. */
const layersAtATime = 3
/** Times in a row that a blob is asked for anew without having brought a byte. */
const maximumVain = 5

interface ImageClientOptions {
  /** Of the registry, without a slash at the end. */
  readonly url: string
  /** The authority (PEM) that signed its certificate. */
  readonly ca?: string | undefined
  /** Breaks off what is asked. */
  readonly signal?: AbortSignal
  /** Whether it asks for the rest, at once, where a connection broke. */
  readonly isResuming?: boolean
  /** Is told when something was asked for, when its first byte came, and its last: milliseconds since the epoch. */
  readonly onFetched?: (what: string, moments: readonly [asked: number, first: number, last: number]) => void
}

/**
 * Pulls an image as Docker does: `/v2/`, a token where one is asked for, the manifest, the config, the layers;
 * over connections that are kept. Dispose to close them.
 */
export class ImageClient implements Disposable {
  readonly #url: string
  readonly #signal: AbortSignal | undefined
  readonly #isResuming: boolean
  readonly #onFetched: ImageClientOptions['onFetched']
  readonly #agents: { readonly http: http.Agent; readonly https: https.Agent }
  #token: string | undefined

  constructor({ url, ca, signal, isResuming = false, onFetched }: ImageClientOptions) {
    this.#url = url
    this.#signal = signal
    this.#isResuming = isResuming
    this.#onFetched = onFetched
    this.#agents = {
      http: new http.Agent({ keepAlive: true }),
      https: new https.Agent({ keepAlive: true, ...(ca !== undefined && { ca }) }),
    }
  }

  /** Rejects where something is not what its digest says. */
  async pull({ repository, tag, config, layers, manifest }: ImageSummary): Promise<void> {
    const base = `${this.#url}/v2/${repository}`
    await this.#logIn(repository)
    await this.#fetch(`${base}/manifests/${tag}`, manifest, manifestHeaders)
    await this.#fetch(`${base}/blobs/${config.digest}`, config)
    const next = layers.values()
    const work = async (): Promise<void> => {
      for (const layer of next) await this.#fetch(`${base}/blobs/${layer.digest}`, layer)
    }
    await Promise.all(Array.from({ length: layersAtATime }, work))
  }

  [Symbol.dispose](): void {
    for (const agent of Object.values(this.#agents)) agent.destroy()
  }

  /** Asks whether a login is needed, and gets a token where it is. */
  async #logIn(repository: string): Promise<void> {
    const ping = await this.#get(`${this.#url}/v2/`)
    await textOf(ping)
    if (ping.statusCode === 200) return
    const challenge = ping.headers['www-authenticate'] ?? ''
    const [, realm, service] = /realm="(.*?)",service="(.*?)"/.exec(challenge) ?? []
    if (realm === undefined) throw new Error(`the registry answered ${ping.statusCode}: ${challenge}`)
    const answer = await this.#get(`${realm}?service=${service}&scope=repository:${repository}:pull`)
    this.#token = JSON.parse(await textOf(answer)).token
  }

  async #fetch(url: string, { digest }: BlobSummary, headers: http.OutgoingHttpHeaders = {}): Promise<void> {
    const hash = createHash('sha256')
    let [at, vain, firstByteAt] = [0, 0, 0]
    const askedAt = now()
    for (let isWhole = false; !isWhole; ) {
      const from = at
      try {
        for await (const chunk of await this.#open(url, from, headers)) {
          if (at === 0) firstByteAt = now()
          hash.update(chunk)
          at += chunk.length
        }
        isWhole = true
      } catch (error) {
        vain = at > from ? 0 : vain + 1
        if (!this.#isResuming || !isBroken(error) || vain > maximumVain) throw error
      }
    }
    if (`sha256:${hash.digest('hex')}` !== digest) throw new Error('a blob came, and its digest is wrong')
    this.#onFetched?.(url, [askedAt, firstByteAt, now()])
  }

  /** The bytes from a position on. */
  async #open(url: string, from: number, headers: http.OutgoingHttpHeaders): Promise<IncomingMessage> {
    const authorization = this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }
    const range = from === 0 ? {} : { range: `bytes=${from}-` }
    const first = await this.#get(url, { ...headers, ...authorization, ...range })
    if (first.statusCode === 307) await textOf(first)
    const answer = first.statusCode === 307 ? await this.#get(first.headers.location ?? '', range) : first
    if (answer.statusCode !== (from === 0 ? 200 : 206)) throw new Error(`the answer was ${answer.statusCode}`)
    return answer
  }

  async #get(url: string, headers: http.OutgoingHttpHeaders = {}): Promise<IncomingMessage> {
    const isTls = url.startsWith('https:')
    const agent = isTls ? this.#agents.https : this.#agents.http
    const signal = this.#signal && { signal: this.#signal }
    const request = (isTls ? https : http).get(url, { agent, headers, ...signal })
    // Of a connection that breaks in the middle of an answer, its reader is told.
    request.on('error', () => {})
    const [answer] = (await once(request, 'response')) as [IncomingMessage]
    return answer
  }
}

async function textOf(answer: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of answer.setEncoding('utf8')) text += chunk
  return text
}

/** Whether a connection broke, and nothing else is wrong. */
function isBroken(error: unknown): boolean {
  return ['ECONNRESET', 'EPIPE', 'ECONNREFUSED'].includes((error as NodeJS.ErrnoException).code ?? '')
}

function now(): number {
  return performance.timeOrigin + performance.now()
}
