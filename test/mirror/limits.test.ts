/**
 * What each client is told while an upstream limits us, in the form in which it asks: containerd repeats a raw 429 five
 * times at once, and takes 503 for "the next registry"; dockerd falls through on anything; podman and skopeo show the
 * sentence. No client is sent a 429 that is not its own.
 *
 * Neighbours thought of: the pull limit and the abuse limit; a tag that is here and fresh, here and to be checked, not here;
 * a blob that is here, and one that is not; an account that is refused meanwhile; a check that goes on behind a client.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage, mediaTypes } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { until } from '../support/settle.ts'

const image = buildImage({ layers: [100_000], seed: 'here' })
const other = buildImage({ layers: [100_000], seed: 'not here' })
const accept = Object.values(mediaTypes.oci).join(', ')
/** How each asks for a manifest of a mirrored registry. */
const dialects = {
  containerd: {
    path: '?ns=docker.io',
    headers: { 'user-agent': 'containerd/v2.1.0', accept: `${accept}, */*` },
  },
  dockerd: { path: '', headers: { 'user-agent': 'docker/27.0.0 go/go1.22', accept } },
  podman: { path: '', headers: { 'user-agent': 'containers/5.30.0 (github.com/containers/image)', accept } },
  skopeo: { path: '', headers: { 'user-agent': 'skopeo/1.14.0', accept } },
}

/** Each time, and by who waits until the upstream has answered, however busy this machine is. */
const checked = { 'cache.revalidate': 0, 'cache.staleAfter': '5m' }

async function start(config: Record<string, unknown> = {}) {
  await using all = new AsyncDisposableStack()
  const hub = all.use(await startDockerHub({ quota: 100, accounts: { ann: 'right' } }))
  hub.addImage('library/app', 'latest', image)
  hub.addImage('library/other', 'latest', other)
  const mirror = all.use(await startMirror({ upstream: hub.url, config }))
  const app = `${mirror.url}/v2/library/app`
  for (const path of [
    'manifests/latest',
    ...[image.config, ...image.layers].map(({ digest }) => `blobs/${digest}`),
  ])
    assert.equal((await pull(`${app}/${path}`)).status, 200)
  hub.reset()
  const owned = all.move()
  return { hub, mirror, app, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

for (const [client, { path, headers }] of Object.entries(dialects)) {
  test(`${client}, the pull limit: what is here is served, and the rest is told when pulls come back`, async () => {
    await using s = await start(checked)
    s.hub.setRemaining(0)
    for (const method of ['HEAD', 'GET']) {
      const here = await pull(`${s.app}/manifests/latest${path}`, { method, headers })
      assert.deepEqual([here.status, here.headers['x-larder-cache']], [200, 'revalidated'])
    }
    const ask = () => pull(`${s.mirror.url}/v2/library/other/manifests/latest${path}`, { headers })
    const before = Date.now()
    const { status, text, headers: told } = await ask()
    assert.equal(status, 503)
    const seconds = Number(told['retry-after'])
    assert.ok(seconds >= 59 && seconds <= 120, String(seconds))
    const [{ code, message }] = JSON.parse(text).errors
    assert.equal(code, 'TOOMANYREQUESTS')
    const [, time = '', wait] =
      /^docker\.io: its pull limit is used up \(100 pulls in 6 h\): the pulls come back by (.+) UTC at the latest, and it is asked again in (\d+ (?:s|min)), at .+ UTC/.exec(
        message,
      ) ?? []
    const back = new Date(before + 21_600_000).toISOString()
    assert.ok(
      [0, 60_000].some((ms) =>
        new Date(Date.parse(back) + ms).toISOString().includes(time.replace(/^.* /, '')),
      ),
      message,
    )
    assert.ok(wait)
    await Promise.all(Array.from({ length: 20 }, ask))
    assert.equal(s.hub.count({ status: 429 }), 1)
    const blob = await pull(`${s.mirror.url}/v2/library/other/blobs/${other.config.digest}${path}`, {
      headers,
    })
    assert.equal(blob.digest, other.config.digest, 'blobs are not counted')
  })

  test(`${client}, the abuse limit: what is here is served, and nothing is asked of the upstream`, async () => {
    await using s = await start(checked)
    s.hub.fault({}, { status: 429, body: '429 Too Many Requests\n', retryAfter: 120 })
    const here = await pull(`${s.app}/manifests/latest${path}`, { headers })
    assert.deepEqual([here.status, here.headers['x-larder-cache']], [200, 'stale'])
    const paths = [`manifests/latest${path}`, `blobs/${other.config.digest}${path}`, `tags/list${path}`]
    for (const asked of paths)
      for (const method of ['HEAD', 'GET']) {
        const {
          status,
          headers: told,
          text,
        } = await pull(`${s.mirror.url}/v2/library/other/${asked}`, {
          method,
          headers,
        })
        if (asked.startsWith('tags') && method === 'HEAD') continue
        assert.equal(status, 503, asked)
        assert.ok(Number(told['retry-after']) > 100)
        if (method === 'GET')
          assert.match(
            text,
            /it refuses all that we ask for a while.*: nothing is asked of it for 2 min, at .* UTC/,
          )
      }
    // Whether it is there at all is looked into beside that where a machine is so busy that it seems not to be.
    const asked = s.hub.requests.filter(({ url }) => url !== '/v2/')
    assert.deepEqual(
      asked.map(({ method, url }) => `${method} ${url}`),
      ['HEAD /v2/library/app/manifests/latest'],
    )
  })
}

test('Retry-After of the pull limit is passed on, in words and as a time', async () => {
  await using s = await start()
  const body = JSON.stringify({ errors: [{ message: 'You have reached your pull rate limit.' }] })
  s.hub.fault({ method: 'GET', path: /manifests/ }, { status: 429, body, retryAfter: 600 })
  const { text, headers } = await pull(`${s.mirror.url}/v2/library/other/manifests/latest`)
  assert.match(text, /it gives the next one in 10 min, at (\d{4}-\d\d-\d\d )?\d\d:\d\d UTC, as it says/)
  // What is left of it when it is told.
  const seconds = Number(headers['retry-after'])
  assert.ok(seconds > 590 && seconds <= 600, String(seconds))
})

test('what the log, the first page and the figures say of it', async () => {
  await using s = await start()
  const metric = (what: string) =>
    s.mirror.metric(`larder_upstream_limited{as="anyone",what="${what}",upstream="docker.io"}`)
  const page = async () => (await pull(`${s.mirror.url}/`)).text
  assert.deepEqual([await metric('pulls'), await metric('all')], [0, 0])
  s.hub.setRemaining(0)
  const ask = () => pull(`${s.mirror.url}/v2/library/other/manifests/latest`)
  await ask()
  await ask()
  assert.deepEqual([await metric('pulls'), await metric('all')], [1, 0])
  assert.match(
    await page(),
    /docker\.io \(which gives us no more pulls at the moment: what is here is served\)/,
  )
  const told = s.mirror.events('upstream gives no more pulls for now: what is cached is served')
  assert.equal(told.length, 1)
  assert.match(String(told[0]?.reason), /used up/)
  s.hub.fault({ method: 'HEAD' }, { status: 429 })
  s.hub.setRemaining(50)
  s.hub.fault({ path: /tags/ }, { status: 429 })
  await pull(`${s.mirror.url}/v2/library/other/tags/list`)
  assert.deepEqual([await metric('pulls'), await metric('all')], [1, 1])
  assert.match(
    await page(),
    /docker\.io \(which refuses all requests at the moment: what is here is served\)/,
  )
  assert.equal(s.mirror.events('upstream refuses all requests for now: nothing is asked of it').length, 1)
})

test('quotas are told by asker and by kind of source, with when they were heard, and no address', async () => {
  const began = Date.now() / 1000
  await using s = await start()
  const { text } = await pull(`${s.mirror.url}/metrics`)
  const figure = (name: string) =>
    Number(
      new RegExp(
        `^larder_upstream_ratelimit_${name}\\{as="anyone",source="address",upstream="docker.io"\\} (\\S+)$`,
        'm',
      ).exec(text)?.[1],
    )
  assert.deepEqual([figure('limit'), figure('remaining')], [100, 99])
  assert.ok(
    figure('heard_timestamp_seconds') >= began - 1 &&
      figure('heard_timestamp_seconds') <= Date.now() / 1000 + 1,
  )
  assert.ok(!text.includes('127.0.0.1'))
  const [line] = s.mirror.events('upstream counts our pulls by this')
  assert.deepEqual([line?.as, line?.source, line?.id], ['anyone', 'address', '127.0.0.1'])
})

test('a check that goes on behind its client leaves the last pulls to people', async () => {
  await using s = await start({ 'cache.revalidate': 0, 'cache.staleAfter': '1s', 'limits.reserve': 10 })
  s.hub.setRemaining(5)
  const moved = buildImage({ layers: [1000], seed: 'moved' })
  s.hub.addImage('library/app', 'latest', moved)
  const gate = s.hub.hold({ method: 'HEAD' })
  const { headers, digest } = await pull(`${s.app}/manifests/latest`)
  assert.deepEqual([headers['x-larder-cache'], digest], ['stale', image.manifest.digest])
  await until(() => gate.waiting === 1)
  gate.release()
  await until(() => s.mirror.events('a pull is left to people').length === 1)
  assert.equal(s.hub.count({ method: 'GET', path: /manifests/ }), 0)
  // Whoever waits for it gets it, on one of the last pulls.
  await until(async () => (await pull(`${s.app}/manifests/latest`)).digest === moved.manifest.digest)
  assert.equal(s.hub.count({ method: 'GET', path: /manifests/, status: 200 }), 1)
})
