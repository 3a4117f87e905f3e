import type { TransportResponse } from './connections/exchange.ts'
import { parseChallenges } from './tokens/challenge.ts'
import { isWebPage } from './web-page.ts'

/**
 * What was found where a registry should be: a registry (`registry`), one that limits us (`limited`), refuses us
 * (`forbidden`) or is ill (`failing`), a server that knows of none (`missing`), something else (`foreign`: the login
 * page of a network, a wrong address), or nothing (`unreachable`).
 */
type RegistryState = 'registry' | 'limited' | 'forbidden' | 'failing' | 'missing' | 'foreign' | 'unreachable'

export interface RegistryCheck {
  readonly state: RegistryState
  /** Goes on after "upstream": what was found and, where that is wrong, what to do. */
  readonly sentence: string
  /** Whether there is nothing to look into. */
  readonly isWell?: true
}

/** Bytes of an answer that are looked at. */
const sniffedBytes = 1024

/** Judges the answer to `GET <base>/v2/` (distribution-spec end-1), of which it reads the beginning. */
export async function judgeRegistry(response: TransportResponse, base: URL): Promise<RegistryCheck> {
  const { status, url } = response
  const start = status >= 200 && status < 300 ? await readStart(response) : undefined
  if (start === undefined) response.discard()
  const isThere = url.origin === base.origin || /\/v2\/?$/.test(url.pathname)
  const where = url.origin === base.origin ? base.href : `${base.href} redirects to ${url.origin}, which`
  const foreign = (what: string): RegistryCheck => ({
    state: 'foreign',
    sentence: `is not what answers: ${where} ${what}. Either the network wants a login first, or the url of this upstream is wrong`,
  })
  if (status === 401) {
    const isAsking = parseChallenges(response.headers['www-authenticate']).length > 0
    return isAsking && isThere ? answers : foreign('answered with a login that no registry asks for')
  }
  if (status === 403) {
    const sentence = 'answers, and refuses /v2/ with 403: it may not serve this network'
    return { state: 'forbidden', sentence }
  }
  if (status === 404) {
    const sentence = `has no registry at ${base.href}: it answered /v2/ with 404. Look at the url of this upstream`
    return { state: 'missing', sentence }
  }
  if (status === 429) return { state: 'limited', sentence: 'answers, and limits our requests for now' }
  if (status >= 500 && status !== 511) {
    return { state: 'failing', sentence: `is ill: it answered /v2/ with ${status}. Serving what is cached` }
  }
  if (start === undefined) return foreign(`answered /v2/ with ${status}`)
  if ('docker-distribution-api-version' in response.headers) return answers
  if (isWebPage(response.headers['content-type'], start)) return foreign('answered with a web page')
  return isThere ? answers : foreign('is no registry')
}

/**
 * Whether an upstream that could not be reached is there again. Some registries have nothing at `/v2/`: what looked
 * so `before`, and has served content all the same, may look so again.
 */
export function isBack(now: RegistryCheck, before: RegistryCheck | undefined, hasServed: boolean): boolean {
  if (now.state === 'foreign') return before?.state === 'foreign' && hasServed
  return now.state !== 'missing' || before?.state !== 'registry'
}

const answers: RegistryCheck = { state: 'registry', sentence: 'answers', isWell: true }

/** The beginning of a body; a body that breaks off tells as much as there is. */
async function readStart(response: TransportResponse): Promise<string> {
  let start = Buffer.alloc(0)
  try {
    for await (const chunk of response.body()) {
      start = Buffer.concat([start, chunk.subarray(0, sniffedBytes)])
      if (start.length >= sniffedBytes) break
    }
  } catch {
    // Its head is an answer all the same.
  }
  return start.toString('latin1')
}
