/** A hub where ann may read acme/secret, and a mirror that has ann's login. */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { type Pulled, pull } from '../support/client.ts'
import { type DockerHubOptions, startDockerHub } from '../support/docker-hub.ts'
import { buildImage } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'

export const image = buildImage({ layers: [5000, 5001, 5002, 5003] })
export const next = buildImage({ layers: [7000], seed: 'next' })
export const secret = buildImage({ layers: [6000], seed: 'secret' })
export const day = 24 * 60 * 60_000

/** Puts both clocks forward. */
export function clock(t: TestContext): { forward(ms: number): void } {
  const [date, mark] = [Date.now.bind(Date), performance.now.bind(performance)]
  let jumped = 0
  t.mock.method(Date, 'now', () => date() + jumped)
  t.mock.method(performance, 'now', () => mark() + jumped)
  return {
    forward(ms) {
      jumped += ms
    },
  }
}

/** A hub where ann may read acme/secret, and a mirror that has ann's credentials. */
export async function start(
  config: Record<string, unknown> = {},
  options: DockerHubOptions = {},
  directory?: string,
) {
  await using all = new AsyncDisposableStack()
  const hub = all.use(await startDockerHub({ accounts: { ann: 'canary-password' }, ...options }))
  hub.addImage('library/app', 'latest', image)
  hub.addImage('acme/secret', 'latest', secret)
  hub.setPrivate('acme/secret', ['ann'])
  const account = { username: 'ann', password: 'canary-password' }
  const settings = {
    upstreams: [{ name: 'docker.io', url: hub.url, ...account }],
    'cache.revalidate': 0,
    'cache.negative': 0,
    // What is refused is refused at once, unless a test is about the time until then.
    'cache.servePrivate': 0,
    // A fill asks on for a minute; here it is what comes in that counts.
    'limits.retries': 0,
    ...config,
  }
  const begin = () => startMirror({ config: settings, ...(directory === undefined ? {} : { directory }) })
  const mirror = all.use(await begin())
  const owned = all.move()
  const get = (path: string, method = 'GET'): Promise<Pulled> => pull(`${mirror.url}/v2/${path}`, { method })
  /** What the upstream says of it: while that is late, as where the machine is held up, the copy is given, marked as such. */
  const heard = async (path: string): Promise<Pulled> => {
    const deadline = performance.now() + 60_000
    for (;;) {
      const answer = await get(path)
      if (answer.headers['x-larder-cache'] !== 'stale') return answer
      assert.ok(performance.now() < deadline, `the copy of ${path} is given for a minute`)
    }
  }
  return { hub, mirror, begin, get, heard, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

export type Setting = Awaited<ReturnType<typeof start>>

/** Pulls as a client does: the tag, the manifest, everything in it. */
export async function pullAll(
  { get }: Pick<Setting, 'get'>,
  name = 'library/app',
  of = image,
): Promise<void> {
  assert.equal((await get(`${name}/manifests/latest`, 'HEAD')).status, 200)
  assert.equal((await get(`${name}/manifests/latest`)).digest, of.manifest.digest)
  assert.equal((await get(`${name}/manifests/${of.manifest.digest}`)).digest, of.manifest.digest)
  const blobs = await Promise.all(
    [of.config, ...of.layers].map(({ digest }) => get(`${name}/blobs/${digest}`)),
  )
  assert.deepEqual(
    blobs.map(({ status, digest }) => [status, digest]),
    [of.config, ...of.layers].map(({ digest }) => [200, digest]),
  )
}

export function assertNothingOf(hub: Setting['hub'], of: typeof secret): void {
  assert.equal(
    [of.manifest, of.config, ...of.layers].reduce((sum, { digest }) => sum + hub.bytesSent(digest), 0),
    0,
  )
}
