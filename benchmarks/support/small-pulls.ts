import { once } from 'node:events'
import http from 'node:http'
import { buildImage } from '../../test/support/images.ts'
import { pushImage } from '../../test/support/push.ts'
import { showCount } from './units.ts'

/** How many pull at a time. */
export const clients = 4
const images = 20
/** Of the pulls, up to which one is told. */
const shares = [0.5, 0.99, 0.999]

/** Pushes images with a layer of 100 KB, and returns the paths that pulls of them ask for. `url`: of the server. */
export async function pushAll(url: string): Promise<string[]> {
  const paths: string[] = []
  for (let n = 0; n < images; n += 1) {
    const image = buildImage({ layers: [100_000], seed: `pulled ${n}` })
    const repository = `/v2/local/app-${n}`
    await pushImage(url + repository, 'v1', image)
    paths.push(`${repository}/manifests/v1`, `${repository}/manifests/${image.manifest.digest}`)
    for (const { digest } of [image.config, ...image.layers]) paths.push(`${repository}/blobs/${digest}`)
  }
  return paths
}

/** Clients pull one path after the other until `end`; returns the milliseconds of each. Throws where one is not served. */
export async function pullUntil(
  port: number,
  paths: readonly string[],
  end: Promise<unknown>,
): Promise<number[]> {
  const agent = new http.Agent({ keepAlive: true, maxSockets: clients })
  const samples: number[] = []
  let isOver = false
  void end.then(() => {
    isOver = true
  })
  const pulling = Array.from({ length: clients }, async (_, client) => {
    for (let n = client; !isOver; n += clients + 1) {
      const at = performance.now()
      await get(port, paths[n % paths.length] ?? '', agent)
      samples.push(performance.now() - at)
    }
  })
  await Promise.all(pulling)
  agent.destroy()
  return samples
}

async function get(port: number, path: string, agent: http.Agent): Promise<void> {
  const request = http.get({ port, path, agent })
  const [response] = await once(request, 'response')
  response.resume()
  await once(response, 'end')
  if (response.statusCode !== 200) throw new Error(`${path}: ${response.statusCode}`)
}

/** Their number, then what the median one and the slowest took. */
export function shownLatencies(samples: readonly number[]): string[] {
  return [showCount(samples.length), ...percentiles(samples).map((ms) => `${ms.toFixed(2)} ms`)]
}

/** How many times slower the same shares of some are than those of others. */
export function ratios(some: readonly number[], others: readonly number[]): string[] {
  const base = percentiles(others)
  return percentiles(some).map((ms, index) => (ms / (base[index] ?? Number.NaN)).toFixed(2))
}

/** Milliseconds. */
function percentiles(samples: readonly number[]): number[] {
  const sorted = samples.toSorted((one, other) => one - other)
  return shares.map((share) => sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN)
}
