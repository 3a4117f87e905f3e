import { request } from 'node:http'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'

// Runs in a network of its own, see slow-handshake.test.ts. Prints what an application of the mirror saw, as JSON.

const image = buildImage({ layers: [100_000] })
await using hub = await startDockerHub()
hub.addImage('library/app', 'latest', image)
// Its token service goes by the number.
const upstream = { name: 'docker.io', url: hub.url.replace('127.0.0.1', 'far.test'), realms: ['127.0.0.1'] }
await using mirror = await startMirror({ config: { upstreams: [upstream] } })
const seen: { status: number; cache: string; ms: number }[] = []
const blobs = [image.config, ...image.layers].map(({ digest }) => `blobs/${digest}`)
for (const path of ['manifests/latest', ...blobs, 'manifests/latest']) {
  const began = performance.now()
  const { status, cache } = await ask(`${mirror.url}/v2/library/app/${path}`)
  seen.push({ status, cache, ms: Math.round(performance.now() - began) })
}
process.stdout.write(JSON.stringify(seen))

function ask(url: string): Promise<{ status: number; cache: string }> {
  return new Promise((resolve, reject) => {
    request(url, { agent: false }, (response) => {
      response.resume()
      response.once('end', () =>
        resolve({ status: response.statusCode ?? 0, cache: String(response.headers['x-larder-cache']) }),
      )
    })
      .on('error', reject)
      .end()
  })
}
