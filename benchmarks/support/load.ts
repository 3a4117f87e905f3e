import { once } from 'node:events'
import { forkNode, run } from '../../test/support/child-process.ts'
import { pathOf } from '../../test/support/programs.ts'

/** GETs of one URL by many connections at a time. */
export interface LoadRequest {
  readonly url: string
  readonly headers?: Readonly<Record<string, string>>
  readonly connections: number
  /** How long a connection goes on to ask again; without it each asks once. */
  readonly seconds?: number
  /** Compares the digest of the body for one connection in so many; never unless set. */
  readonly hashEvery?: number
  readonly digest?: string
}

export interface LoadResult {
  readonly seconds: number
  readonly requests: number
  /** Of bodies. */
  readonly bytes: number
  /** Answers that were not 200, broke off, or had another digest. */
  readonly failures: number
}

/** Runs the requests in a process of its own, whose memory and time are nobody else's. */
export async function load(request: LoadRequest, signal: AbortSignal): Promise<LoadResult> {
  const child = forkNode(new URL('./load-child.ts', import.meta.url), [], { signal })
  child.send(request)
  const [result] = await once(child, 'message', { signal })
  child.disconnect()
  return result as LoadResult
}

/** Small answers by wrk, which costs the machine least; by our own client where it is not installed. */
export async function loadSmall(
  request: LoadRequest & { readonly seconds: number },
  signal: AbortSignal,
): Promise<LoadResult> {
  if (pathOf('wrk') === undefined) return load(request, signal)
  const { url, headers = {}, connections, seconds } = request
  const headerArguments = Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`])
  const parameters = ['-t', '1', '-c', String(connections), '-d', `${seconds}s`, ...headerArguments, url]
  return parseWrk(await run('wrk', parameters, { signal, timeoutMs: (seconds + 60) * 1000 }))
}

/** The figures in what wrk prints. Throws where there are none. */
export function parseWrk(output: string): LoadResult {
  const total = /(\d+) requests in ([\d.]+)(ms|s|m),/.exec(output)
  if (!total) throw new Error(`wrk said nothing that is known:\n${output}`)
  const unit = { ms: 0.001, s: 1, m: 60 }[total[3] as 'ms' | 's' | 'm']
  const bad = /Non-2xx or 3xx responses: (\d+)/.exec(output)
  const broken = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(output)
  const failures = [bad?.[1], ...(broken?.slice(1) ?? [])].reduce((sum, count) => sum + Number(count ?? 0), 0)
  return { requests: Number(total[1]), seconds: Number(total[2]) * unit, bytes: 0, failures }
}
