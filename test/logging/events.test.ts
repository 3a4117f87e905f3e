/**
 * How a request, a pull and a fetched blob look in each format. Thought of: what is about no repository; other
 * upstreams than Docker Hub; digests; very long URLs and User-Agents; escape sequences in either; no User-Agent; a
 * Unix socket; errors of ours and of others; sizes and durations at the edges of their units; colours as wanted;
 * secrets in a query; other events that happen to have fields of these names.
 */
import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { test } from 'node:test'
import type { Logger } from 'pino'
import { createLogger, type LoggerOptions } from '../../src/logging/logger.ts'
import { shortAgent } from '../../src/logging/short-agent.ts'
import { wantsColors } from '../../src/logging/terminal.ts'
import { humanBytes, humanDuration } from '../../src/units/human.ts'

const formats = ['pretty', 'text', 'json', 'logstash', 'ecs'] as const
const digest = `sha256:${'0123456789abcdef'.repeat(4)}`
const agent =
  'docker/29.1.3 go/go1.25.4 git-commit/4d75f2a kernel/6.12.48 os/linux arch/amd64 UpstreamClient(Docker-Client/29.1.3)'
const request = {
  method: 'GET',
  url: `/v2/library/nginx/blobs/${digest}?ns=docker.io`,
  status: 200,
  kind: 'blob',
  upstream: 'docker.io',
  repository: 'library/nginx',
  reference: digest,
  cache: 'hit',
  bytes: 31_457_280,
  ended: 'complete',
  ms: 1234,
  client: '192.168.1.31',
  agent,
}
const pulled = {
  client: '192.168.1.31',
  agent,
  upstream: 'ghcr.io',
  repository: 'org/app',
  reference: '1.25',
  digest,
  bytes: 71_000_000,
  cachedBytes: 40_000_000,
  joinedBytes: 1_000_000,
  lineBytes: 30_000_000,
  outcome: 'finished',
  ms: 12_345,
}

class Collector extends Writable {
  text = ''

  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    this.text += chunk.toString()
    callback()
  }
}

function written(format: LoggerOptions['format'], use: (logger: Logger) => void, colors = false): string {
  const destination = new Collector()
  use(createLogger({ level: 'trace', format, destination, isTerminal: false, colors }))
  return destination.text
}

/** A line of pretty without its time. */
function pretty(use: (logger: Logger) => void): string {
  const text = written('pretty', use)
  assert.match(text, /^\[\d\d:\d\d:\d\d\.\d{3}\] /)
  return text.slice('[00:00:00.000] '.length).replaceAll(/ +/g, ' ')
}

test('a request is one line in every format, whatever became of it', () => {
  const variants = [
    request,
    { ...request, url: '/v2/', repository: undefined, reference: undefined, upstream: undefined },
    { ...request, ended: 'left', status: 499, cache: undefined, agent: undefined },
    { ...request, ended: 'broken', error: 'docker.io: it\nstalled \u001b[31m' },
    { ...request, agent: `x\r\n${'y'.repeat(5000)}`, url: `/v2/${'z'.repeat(5000)}\u202e` },
  ]
  for (const format of formats) {
    for (const fields of variants) {
      const line = written(format, (logger) => logger.info(fields, 'request'))
      assert.match(line, /^[^\p{Cc}\u2028\u2029\u202e]+\n$/u, format)
    }
  }
})

test('pretty tells of a request what a person wants to know', () => {
  const line = (fields: object) => pretty((logger) => logger.info(fields, 'request'))
  assert.equal(line(request), 'INFO GET 200 library/nginx@sha256:0123456789ab hit 31 MB 1.2 s 192.168.1.31\n')
  assert.equal(
    line({ ...request, upstream: 'ghcr.io', repository: 'org/app', reference: '1', cache: 'miss', bytes: 0 }),
    'INFO GET 200 ghcr.io/org/app:1 miss 0 B 1.2 s 192.168.1.31\n',
  )
  assert.match(line({ ...request, ended: 'left' }), / 192\.168\.1\.31 left\n$/)
  const error = 'MANIFEST_UNKNOWN: docker.io: it does not have this'
  assert.match(line({ ...request, status: 404, error }), /^INFO GET 404 .* MANIFEST_UNKNOWN: .* this\n$/)
  const other = { ...request, url: '/v2/', repository: undefined, reference: undefined, cache: undefined }
  assert.equal(line(other), 'INFO GET 200 /v2/ 31 MB 1.2 s 192.168.1.31\n')
})

test('pretty keeps its columns whatever the cache says', () => {
  const end = (cache: string): number =>
    written('pretty', (logger) => logger.info({ ...request, cache }, 'request')).indexOf(request.client)
  const statuses = ['hit', 'joined', 'miss', 'revalidated', 'stale']
  assert.equal(new Set(statuses.map(end)).size, 1)
})

test('pretty and text say that a machine has pulled an image', () => {
  const line = (fields: object, message = 'pulled') => pretty((logger) => logger.info(fields, message))
  assert.equal(
    line(pulled),
    "INFO pulled ghcr.io/org/app:1.25 71 MB in 12 s: 40 MB from the cache, 1 MB with another's download, 30 MB over the line 192.168.1.31 docker/29.1.3\n",
  )
  const cached = { ...pulled, cachedBytes: 71_000_000, joinedBytes: 0, lineBytes: 0 }
  assert.match(line(cached), / 71 MB in 12 s, all from the cache 192/)
  const left = { ...pulled, outcome: 'left', reference: undefined, upstream: 'docker.io' }
  assert.match(
    line(left, 'pull did not finish: the client left'),
    /^INFO org\/app@sha256:0123456789ab did not finish: the client left 71 MB in 12 s: /,
  )
  const text = written('text', (logger) => logger.info(pulled, 'pulled'))
  assert.match(text, / INFO {2}pulled client=192\.168\.1\.31 agent=docker\/29\.1\.3 .*reference=1\.25 /)
})

test('pretty tells of a blob that was fetched', () => {
  const fetched = { upstream: 'docker.io', repository: 'library/nginx', digest, size: 9e7, keptBytes: 4e7 }
  const numbers = { bytes: 5e7, resumes: 2, ms: 10_000, bytesPerSecond: 5e6 }
  assert.equal(
    pretty((logger) => logger.info({ ...fetched, ...numbers }, 'fetched a blob')),
    'INFO fetched library/nginx@sha256:0123456789ab 50 MB in 10 s, 5 MB/s, 40 MB were here, resumed 2 times from docker.io\n',
  )
})

test('pretty writes other events on one line as well, and the stack of an error below', () => {
  const line = pretty((logger) => logger.warn({ upstream: 'docker.io', note: 'two words' }, 'said'))
  assert.equal(line, 'WARN said upstream=docker.io note="two words"\n')
  const text = written('pretty', (logger) =>
    logger.error({ err: Object.assign(new Error('why\nnot'), { code: 'E' }) }, 'failed'),
  )
  const [head = '', ...stack] = text.split('\n')
  assert.match(head, /ERROR failed err="why\\nnot" code=E$/)
  assert.ok(stack.length > 3 && stack.slice(0, -1).every((row) => row.startsWith('    ')), text)
})

test('text is one line of which the User-Agent is a small part, and says nothing twice', () => {
  const line = written('text', (logger) => logger.info(request, 'request'))
  assert.match(
    line,
    /^\S+ INFO {2}request method=GET url="\S+" status=200 cache=hit bytes=31457280 ms=1234 client=192\.168\.1\.31 agent=docker\/29\.1\.3\n$/,
  )
  assert.match(
    written('text', (logger) => logger.info({ ...request, ended: 'left' }, 'request')),
    / ended=left\n$/,
  )
})

test('json has everything', () => {
  const event = JSON.parse(written('json', (logger) => logger.info(request, 'request')))
  const { level, time, msg, ...rest } = event
  assert.deepEqual([level, msg, typeof time], ['info', 'request', 'string'])
  assert.deepEqual(rest, request)
})

test('ecs calls the fields of a request by the names that ECS has for them', () => {
  const event = JSON.parse(written('ecs', (logger) => logger.info(request, 'request')))
  const path = `/v2/library/nginx/blobs/${digest}`
  const { '@timestamp': time, 'ecs.version': version, larder, ...rest } = event
  assert.equal(new Date(time).toISOString(), time)
  assert.match(version, /^8\./)
  assert.deepEqual(rest, {
    'log.level': 'info',
    message: `GET ${path}?ns=docker.io 200`,
    'service.name': 'larder',
    'log.logger': 'larder',
    'event.kind': 'event',
    'event.category': ['web'],
    'event.type': ['access'],
    'event.dataset': 'larder.access',
    'event.outcome': 'success',
    'event.duration': 1_234_000_000,
    'http.request.method': 'GET',
    'http.response.status_code': 200,
    'http.response.body.bytes': 31_457_280,
    'url.original': `${path}?ns=docker.io`,
    'url.path': path,
    'url.query': 'ns=docker.io',
    'client.address': '192.168.1.31',
    'client.ip': '192.168.1.31',
    'user_agent.original': agent,
  })
  assert.deepEqual(larder, {
    kind: 'blob',
    upstream: 'docker.io',
    repository: 'library/nginx',
    reference: digest,
    cache: 'hit',
    ended: 'complete',
  })
})

test('ecs: what failed, what was left, what has no address, and a pull', () => {
  const ecs = (fields: object, message = 'request') =>
    JSON.parse(written('ecs', (logger) => logger.info(fields, message)))
  const failed = ecs({ ...request, status: 503, error: 'UNAVAILABLE: away' })
  assert.deepEqual([failed['event.outcome'], failed['error.message']], ['failure', 'UNAVAILABLE: away'])
  assert.equal(ecs({ ...request, ended: 'left' })['event.outcome'], 'unknown')
  const local = ecs({ ...request, client: 'unix socket' })
  assert.deepEqual([local['client.address'], local['client.ip']], ['unix socket', undefined])
  const pull = ecs(pulled, 'pulled')
  assert.deepEqual(
    [pull.message, pull['client.ip'], pull['event.duration'], pull.larder.lineBytes],
    ['pulled (ghcr.io/org/app:1.25)', '192.168.1.31', 12_345_000_000, 30_000_000],
  )
  // Not one of ours: its fields stay together, of whatever type they are.
  assert.deepEqual(ecs({ status: 'good', client: 7 }, 'other').larder, { status: 'good', client: 7 })
})

test('logstash has the names of its encoder for requests', () => {
  const event = JSON.parse(written('logstash', (logger) => logger.warn(request, 'request')))
  const expected = {
    '@version': '1',
    level: 'WARN',
    level_value: 30_000,
    logger_name: 'larder',
    thread_name: 'main',
    method: 'GET',
    requested_uri: `/v2/library/nginx/blobs/${digest}`,
    status_code: 200,
    content_length: 31_457_280,
    elapsed_time: 1234,
    remote_host: '192.168.1.31',
    user_agent: agent,
    cache: 'hit',
    repository: 'library/nginx',
  }
  for (const [name, value] of Object.entries(expected)) assert.equal(event[name], value, name)
  const odd = JSON.parse(written('logstash', (logger) => logger.info({ tags: 'a', '@metadata': 1 }, 'x')))
  assert.deepEqual([odd.tags, odd.tags_, odd['@metadata_']], [undefined, 'a', 1])
})

test('a secret in the URL, the User-Agent or the reason of a request stays inside, in every format', () => {
  const canary = 'cAnArY0123456789'
  const fields = {
    ...request,
    url: `/v2/library/nginx/tags/list?token=${canary}&n=5`,
    agent: `curl/8 (Bearer ${canary})`,
    error: `GET https://cdn.example/blob?sig=${canary} failed`,
  }
  for (const format of formats) {
    for (const message of ['request', 'pulled']) {
      const line = written(format, (logger) => logger.info({ ...pulled, ...fields }, message))
      assert.ok(!line.includes(canary), `${format}: ${line}`)
    }
  }
})

test('bytes and durations as people write them', () => {
  const bytes = [0, 1, 999, 1000, 9949, 9950, 99_500, 999_499, 999_500, 31_457_280, 2.5e9, 7e12, 4e18]
  assert.deepEqual(bytes.map(humanBytes), [
    ...['0 B', '1 B', '999 B', '1 kB', '9.9 kB', '10 kB', '100 kB', '999 kB'],
    ...['1 MB', '31 MB', '2.5 GB', '7 TB', '4000 PB'],
  ])
  const durations = [
    0, 0.4, 3, 999, 999.6, 1000, 12_345, 59_949, 59_960, 61_000, 3_599_400, 3_600_000, 9e6, 10_799_000,
  ]
  assert.deepEqual(durations.map(humanDuration), [
    ...['0 ms', '0 ms', '3 ms', '999 ms', '1 s', '1 s', '12 s', '60 s', '1 min 0 s', '1 min 1 s'],
    ...['59 min 59 s', '1 h 0 min', '2 h 30 min', '2 h 59 min'],
  ])
})

test('a User-Agent is shortened to its program', () => {
  const agents = {
    [agent]: 'docker/29.1.3',
    'containerd/2.1.5+unknown': 'containerd/2.1.5+unknown',
    'containers/5.34.1 (github.com/containers/image)': 'containers/5.34.1',
    'Watchtower (Docker)': 'Watchtower',
    ' leading': 'leading',
    '': '',
    [`${'x'.repeat(50)} y`]: `${'x'.repeat(40)}…`,
  }
  assert.deepEqual(Object.keys(agents).map(shortAgent), Object.values(agents))
})

test('colours are for terminals, and as the user says', () => {
  assert.equal(wantsColors({}, true), true)
  assert.equal(wantsColors({}, false), false)
  assert.equal(wantsColors({ NO_COLOR: '1' }, true), false)
  assert.equal(wantsColors({ NO_COLOR: '' }, true), true)
  assert.equal(wantsColors({ TERM: 'dumb' }, true), false)
  assert.equal(wantsColors({ FORCE_COLOR: '1' }, false), true)
  assert.equal(wantsColors({ FORCE_COLOR: '0' }, true), false)
  assert.equal(wantsColors({ FORCE_COLOR: '1', NO_COLOR: '1' }, true), false)
  const colored = written('pretty', (logger) => logger.info(request, 'request'), true)
  assert.ok(colored.includes('\u001b[32m200\u001b[0m'), colored)
  const plain = written('pretty', (logger) => logger.info(request, 'request'))
  assert.ok(!plain.includes('\u001b'))
})
