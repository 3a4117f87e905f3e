/** Many connections to one URL, as a process of its own; see `load`. */
import { ClientConnection } from './client-connection.ts'
import type { LoadRequest, LoadResult } from './load.ts'

process.on('message', async (request: LoadRequest) => process.send?.(await run(request)))
process.on('disconnect', () => process.exit())

async function run(request: LoadRequest): Promise<LoadResult> {
  const startedAt = performance.now()
  const until = startedAt + (request.seconds ?? 0) * 1000
  const results = await Promise.all(
    Array.from({ length: request.connections }, (_, index) => repeat(request, index, until)),
  )
  const sum = (pick: (result: Counts) => number): number => results.reduce((all, one) => all + pick(one), 0)
  return {
    seconds: (performance.now() - startedAt) / 1000,
    requests: sum(({ requests }) => requests),
    bytes: sum(({ bytes }) => bytes),
    failures: sum(({ failures }) => failures),
  }
}

type Counts = Pick<LoadResult, 'requests' | 'bytes' | 'failures'>

/** One request after the other over one connection; only one where no time is given. */
async function repeat(request: LoadRequest, index: number, until: number): Promise<Counts> {
  const { url, headers, digest, hashEvery } = request
  const { pathname, search } = new URL(url)
  const counts = { requests: 0, bytes: 0, failures: 0 }
  using connection = await ClientConnection.open(url)
  do {
    const isHashed = hashEvery !== undefined && index % hashEvery === 0
    const received = await connection.get(`${pathname}${search}`, { ...(headers && { headers }), isHashed })
    const isWrong = isHashed && received.digest !== digest
    counts.requests += 1
    counts.bytes += received.bytes
    if (received.status !== 200 || !received.isComplete || isWrong) counts.failures += 1
  } while (performance.now() < until && connection.isOpen)
  return counts
}
