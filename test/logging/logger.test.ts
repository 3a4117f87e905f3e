import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Logger } from 'pino'
import { createLogger, type LoggerOptions } from '../../src/logging/logger.ts'
import { redactText } from '../../src/logging/redact.ts'

const formats = ['pretty', 'text', 'json', 'logstash', 'ecs'] as const
const oneLineFormats = ['text', 'json', 'logstash', 'ecs'] as const

class Collector extends Writable {
  text = ''

  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    this.text += chunk.toString()
    callback()
  }
}

function written(format: LoggerOptions['format'], use: (logger: Logger) => void, isTerminal = false): string {
  const destination = new Collector()
  use(createLogger({ level: 'trace', format, destination, isTerminal }))
  return destination.text
}

test('text is time, level, message and pairs on one line', () => {
  const line = written('text', (logger) =>
    logger.warn({ repository: 'library/nginx', note: 'two words', n: 3, at: { port: 1 } }, 'cut'),
  )
  assert.match(
    line,
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARN {2}cut repository=library\/nginx note="two words" n=3 at\.port=1\n$/,
  )
})

test('text escapes what a terminal or a reader of lines would obey', () => {
  const line = written('text', (logger) =>
    logger.info(
      { 'a b="': 'say "hi"\\', list: [1, 'x y'] },
      'one\r\ntwo\u001b[31m\u0085\u2028\u202e\u007f\ttab',
    ),
  )
  assert.ok(line.includes(String.raw`one\r\ntwo\u001b[31m\u0085\u2028\u202e\u007f\ttab`), line)
  assert.ok(line.includes(String.raw`a_b__="say \"hi\"\\"`), line)
  assert.ok(line.includes(String.raw`list="[1,\"x y\"]"`), line)
})

test('no format of lines lets a separator or an escape sequence through as it is', () => {
  for (const format of oneLineFormats) {
    const line = written(format, (logger) =>
      logger.info({ 'k\u2029': '\u0085\u009b31m' }, 'a\u2028b\u007f\u202e'),
    )
    assert.match(line, /a\\u2028b\\u007f\\u202e/)
    assert.match(line, /\\u0085\\u009b31m/)
    assert.doesNotMatch(line.slice(0, -1), /[\p{Cc}\u2028\u2029\u202e]/u)
    assert.match(
      written(format, (logger) => logger.info('\u007f')),
      /\\u007f/,
    )
  }
})

test('an error is told under "error" as under "err"', () => {
  for (const format of formats) {
    assert.match(
      written(format, (logger) => logger.warn({ error: new Error('the reason') }, 'failed')),
      /the reason/,
    )
  }
})

test('json is pino with the time and the level in words', () => {
  const event = JSON.parse(written('json', (logger) => logger.child({ client: 'a' }).info({ n: 1 }, 'hello')))
  assert.deepEqual(Object.keys(event), ['level', 'time', 'client', 'n', 'msg'])
  assert.equal(event.level, 'info')
  assert.equal(new Date(event.time).toISOString(), event.time)
})

test('logstash has its fields, and keeps those of the event that have the same names', () => {
  const event = JSON.parse(
    written('logstash', (logger) =>
      logger.error({ err: new TypeError('bad'), message: 'mine', level: 7, n: 1 }, 'said'),
    ),
  )
  assert.equal(event['@version'], '1')
  assert.equal(new Date(event['@timestamp']).toISOString(), event['@timestamp'])
  const { level, logger_name, message, message_, level_, n } = event
  assert.deepEqual(
    { level, logger_name, message, message_, level_, n },
    { level: 'ERROR', logger_name: 'larder', message: 'said', message_: 'mine', level_: 7, n: 1 },
  )
  assert.match(event.stack_trace, /^TypeError: bad\n {4}at /)
})

test('ecs has its fields, errors included, and puts ours under one key', () => {
  const error = Object.assign(new RangeError('too far'), { code: 'E_FAR' })
  const event = JSON.parse(written('ecs', (logger) => logger.error({ err: error, host: 'x' }, 'failed')))
  assert.equal(event['log.level'], 'error')
  assert.equal(event.message, 'failed')
  assert.match(event['ecs.version'], /^8\./)
  assert.equal(event['service.name'], 'larder')
  assert.equal(event['error.type'], 'RangeError')
  assert.equal(event['error.message'], 'too far')
  assert.match(event['error.stack_trace'], /too far\n {4}at /)
  assert.deepEqual(event.larder, { host: 'x', error: { code: 'E_FAR' } })
})

test('an error without a message of its own gives the event its message', () => {
  for (const format of oneLineFormats) {
    assert.ok(written(format, (logger) => logger.error(new Error('the reason'))).includes('the reason'))
  }
})

test('auto is pretty on a terminal and text elsewhere', () => {
  const use = (logger: Logger) => logger.info({ n: 1 }, 'hello')
  const withoutTime = (text: string) => text.replaceAll(/[\d:.TZ-]{12,}/g, '')
  assert.equal(withoutTime(written('auto', use)), withoutTime(written('text', use)))
  assert.equal(withoutTime(written('auto', use, true)), withoutTime(written('pretty', use, true)))
  assert.ok(written('auto', use, true).includes('\u001b['), 'a terminal has colours')
  assert.ok(!written('pretty', use, false).includes('\u001b['))
})

test('pretty lets no event forge another, and passes no escape sequence on', () => {
  const text = written('pretty', (logger) =>
    logger.info({ note: 'a\u001b[2Jb' }, 'x\n[00:00:00.000] INFO: forged\u001b[31m'),
  )
  assert.equal(text.split('\n').filter((line) => line.startsWith('[')).length, 1)
  assert.ok(!text.includes('\u001b'))
})

test('events below the level are not written', () => {
  const destination = new Collector()
  const logger = createLogger({ level: 'warn', format: 'text', destination, isTerminal: false })
  logger.info('quiet')
  logger.warn('loud')
  assert.match(destination.text, /^\S+ WARN {2}loud\n$/)
})

test('one event is one line, and one JSON document, whatever it says', () => {
  const anything = fc.string({ unit: 'binary' })
  const keys = fc.oneof(
    anything,
    fc.constantFrom('level', 'time', 'msg', 'err', 'message', '@timestamp', '__proto__', 'toJSON'),
  )
  fc.assert(
    fc.property(
      fc.constantFrom(...oneLineFormats),
      anything,
      fc.dictionary(keys, fc.jsonValue()),
      (format, message, fields) => {
        const line = written(format, (logger) => logger.info(fields, message.replaceAll('%', '')))
        assert.match(line, /^[^\p{Cc}\u2028\u2029]+\n$/u)
        if (format !== 'text') JSON.parse(line)
      },
    ),
    { numRuns: 400 },
  )
})

/** Every way in which a secret gets into an event. The canary must not get out in any format. */
const canary = 'cAnArY0123456789'
const leaks: Record<string, (logger: Logger) => void> = {
  'userinfo in a message': (logger) => logger.info(`GET https://ann:${canary}@registry.example/v2/`),
  'userinfo with an at sign': (logger) => logger.info(`https://ann:p@${canary}@registry.example/`),
  'query of a signed URL': (logger) =>
    logger.info({ url: `https://cdn.example/blob?X-Amz-Signature=${canary}&ns=docker.io` }, 'hit'),
  'signature of Azure': (logger) => logger.info(`https://cdn.example/blob?se=2026&sp=r&sig=${canary}`),
  'signature of CloudFront': (logger) =>
    logger.info(`https://cdn.example/b?Policy=${canary}&Key-Pair-Id=${canary}`),
  'unknown parameter': (logger) => logger.info(`https://cdn.example/blob?verify=1700000000-${canary}`),
  'query of a path': (logger) => logger.info({ path: `/v2/x?token=${canary}` }, 'asked'),
  'fragment of a URL': (logger) => logger.info(`https://x.example/#access_token=${canary}`),
  bearer: (logger) => logger.info(`sent Bearer ${canary}`),
  'basic in lower case': (logger) => logger.info(`sent basic ${canary}==`),
  'header in a text': (logger) => logger.info(`> Cookie: a=1; session=${canary}`),
  headers: (logger) =>
    logger.info({
      headers: {
        authorization: canary,
        'Proxy-Authorization': canary,
        cookie: canary,
        'set-cookie': [canary],
      },
    }),
  'raw headers': (logger) =>
    logger.info({ rawHeaders: ['Host', 'x', 'Authorization', canary, 'Cookie', canary] }),
  'token four deep': (logger) =>
    logger.info({ a: { b: { c: { access_token: canary, refreshToken: canary } } } }),
  'token in a list': (logger) => logger.info({ list: [{ token: canary }, { password: { value: canary } }] }),
  'binding of a child': (logger) => logger.child({ upstream: { password: canary } }).info('hello'),
  'placeholder of an object': (logger) =>
    logger.info(
      '%j, %o and %s',
      ...Array(3).fill({ token: { value: canary }, list: [{ cookie: [canary] }] }),
    ),
  'more values than placeholders': (logger) =>
    (logger.info as (...all: unknown[]) => void)('failed', { password: [canary] }),
  'placeholder of a message': (logger) =>
    logger.info('asked %s with %j', `https://a:${canary}@b`, { token: canary }),
  'answer of a token server': (logger) =>
    logger.info({ body: `{"token": "${canary}", "access_token":"${canary}"}` }, 'answer'),
  'answer quoted twice': (logger) =>
    logger.info({ body: JSON.stringify(JSON.stringify({ token: canary })) }, 'answer'),
  form: (logger) => logger.info(`grant_type=password&username=ann&password=${canary}`),
  'message and stack of an error': (logger) =>
    logger.error(new Error(`GET https://ann:${canary}@x/?sig=${canary} failed`)),
  'cause of an error': (logger) => logger.error(new Error('outer', { cause: new Error(`Bearer ${canary}`) })),
  'properties of an error': (logger) =>
    logger.error(
      Object.assign(new Error('x'), {
        options: { headers: { authorization: `Bearer ${canary}` }, password: canary },
      }),
    ),
  'error under another key': (logger) => logger.warn({ error: new Error(`https://a:${canary}@x`) }, 'failed'),
  'errors in one': (logger) => logger.error(new AggregateError([new Error(`token=${canary}`)], 'all failed')),
  key: (logger) => logger.info({ [`https://x/?sig=${canary}`]: 1 }, 'hit'),
}

for (const [name, use] of Object.entries(leaks)) {
  test(`no format lets a secret out: ${name}`, () => {
    for (const format of formats) {
      const text = written(format, use)
      assert.ok(text.length > 20, 'something is written')
      assert.ok(!text.includes(canary), `${format}: ${text}`)
    }
  })
}

test('what says only what was asked for stays readable', () => {
  const url =
    'https://auth.docker.io/token?service=registry.docker.io&scope=repository:library/nginx:pull&ns=docker.io&n=5&last=a'
  const challenge = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io"'
  const accept = 'application/json;q=0.9, text/html;charset=utf-8'
  const text = written('text', (logger) =>
    logger.info(`${url} ${challenge} ${accept} 3 tokens, Basic authentication`),
  )
  assert.ok(text.includes(url) && text.includes(challenge) && text.includes(accept), text)
  assert.ok(text.includes('3 tokens, Basic authentication'), text)
})

test('the words before a secret are found in whatever way they are quoted and set apart', () => {
  const word = fc.constantFrom(
    'Token',
    'access_token',
    'PASSWORD',
    'client-secret',
    'signature',
    'Set-Cookie',
  )
  const slashes = fc.constantFrom('', '\\', '\\\\\\')
  const quote = fc.constantFrom('', '"', "'")
  const space = fc.string({ unit: fc.constantFrom(' ', '\t', '\u00a0'), maxLength: 8 })
  const form = fc.tuple(word, slashes, quote, space, fc.constantFrom(':', '='), space, slashes)
  fc.assert(
    fc.property(form, (parts) => {
      const text = redactText(`x ${parts.join('')}${canary}`)
      assert.ok(!text.includes(canary), text)
    }),
  )
})

test('what cannot be read, or never ends, is told as such and hinders nothing', () => {
  const circle: Record<string, unknown> = { token: canary }
  circle.self = [circle]
  const crowd: Record<string, unknown>[] = [{}, {}, {}, {}, {}]
  for (const one of crowd) Object.assign(one, crowd)
  const fields = {
    circle,
    crowd,
    ...JSON.parse('{"within": {"__proto__": {"n": 1}}}'),
    big: 10n ** 20n,
    bytes: Buffer.alloc(1_000_000),
    date: new Date(0),
    at: new URL(`https://ann:${canary}@x.example/`),
    get bad() {
      throw new Error('no')
    },
    nothing: undefined,
    run: () => {},
    cause: { of: new Error(`Bearer ${canary}`) },
  }
  for (const format of formats) {
    const line = written(format, (logger) => logger.info(fields, 'odd'))
    assert.ok(!line.includes(canary), format)
    assert.ok(line.length < 100_000, `${format}: ${line.length}`)
  }
  const event = JSON.parse(written('json', (logger) => logger.info(fields, 'odd')))
  const { big, date, at, bad, msg } = event
  assert.deepEqual(
    [big, date, bad, msg],
    ['1'.padEnd(21, '0'), '1970-01-01T00:00:00.000Z', '[unreadable]', 'odd'],
  )
  assert.equal(at, 'https://[redacted]@x.example/')
  assert.match(event.cause.of.stack, /^Error: Bearer \[redacted\]\n {4}at /)
  assert.deepEqual(event.within, { '__proto__ ': { n: 1 } })
  assert.deepEqual(['nothing' in event, 'run' in event], [false, false])
})

test('what a logger binds, and how it was told to write fields, holds for its events', () => {
  const event = (use: (logger: Logger) => void) => JSON.parse(written('json', use))
  const options = { serializers: { request: () => ({ token: canary, id: 7 }) } }
  const { request, id, n } = event((logger) =>
    logger.child({ id: 1 }, options).info({ request: {}, n: 2 }, 'x'),
  )
  assert.deepEqual({ request, id, n }, { request: { token: '[redacted]', id: 7 }, id: 1, n: 2 })
  assert.equal(event((logger) => logger.child({ n: 1 }).info({ n: 2 })).n, 2)
})

test('a message may come with the fields, after them, with placeholders, or not be a text', () => {
  const message = (use: (logger: Logger) => void) => JSON.parse(written('json', use)).msg
  const calls: [expected: string, use: (logger: Logger) => void][] = [
    ['mine', (logger) => logger.info({ msg: 'mine' })],
    ['given', (logger) => logger.info({ msg: 'mine' }, 'given')],
    ['2 of three', (logger) => logger.info('%d of %s', 2, 'three')],
    ['100%d', (logger) => logger.info('100%d')],
    ['', (logger) => logger.info({})],
    ['why', (logger) => logger.info({ err: new Error('why') })],
    ['7', (logger) => logger.info(7 as unknown as string)],
  ]
  for (const [expected, use] of calls) assert.equal(message(use), expected)
})

test('hostile text costs linear time', () => {
  const pieces = [
    '://',
    '?',
    '&a',
    '?a=',
    'Bearer ',
    'token',
    'token:',
    'password "',
    'cookie',
    '\\',
    ' ',
    '@',
    '"',
  ]
  for (const piece of pieces) {
    const text = piece.repeat(Math.ceil(400_000 / piece.length))
    const before = process.threadCpuUsage()
    written('json', (logger) => logger.info(text))
    assert.ok(process.threadCpuUsage(before).user < 2_000_000, `${JSON.stringify(piece)} took too long`)
  }
})
