/**
 * What a client such as Docker does for a pull, without keeping the bytes: asks, answers the challenge with a
 * token, and follows redirects without its credentials.
 */
export class RegistrySession {
  readonly #base: string
  readonly #signal: AbortSignal
  #authorization: string | undefined

  /** `base` without a slash at the end. */
  constructor(base: string, signal: AbortSignal) {
    this.#base = base
    this.#signal = signal
  }

  /** GETs a path below `/v2/`. Throws where the answer is not 200. */
  async get(path: string, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
    const url = `${this.#base}/v2/${path}`
    let response = await this.#send(url, headers)
    if (response.status === 401) {
      await response.body?.cancel()
      this.#authorization = await this.#token(response.headers.get('www-authenticate') ?? '')
      response = await this.#send(url, headers)
    }
    if (response.status !== 200) throw new Error(`${path}: ${response.status}`)
    return response
  }

  /** fetch drops the credentials on its way to another origin, as the storage behind a registry demands. */
  #send(url: string, headers: Readonly<Record<string, string>>): Promise<Response> {
    const authorization = this.#authorization
    return fetch(url, {
      headers: { ...headers, ...(authorization && { authorization }) },
      signal: this.#signal,
    })
  }

  async #token(challenge: string): Promise<string> {
    const parameters = new Map(
      [...challenge.matchAll(/(\w+)="([^"]*)"/g)].map(([, name, value]) => [name, value]),
    )
    const url = new URL(parameters.get('realm') ?? '')
    for (const name of ['service', 'scope']) url.searchParams.set(name, parameters.get(name) ?? '')
    const response = await fetch(url, { signal: this.#signal })
    const { token } = (await response.json()) as { token: string }
    return `Bearer ${token}`
  }
}
