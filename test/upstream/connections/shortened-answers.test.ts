import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { TransportResponse } from '../../../src/upstream/connections/exchange.ts'
import type { UpstreamError } from '../../../src/upstream/error.ts'
import { pseudoRandomBytes } from '../../support/images.ts'
import { until } from '../../support/settle.ts'
import { selfSigned, transportTo } from '../fixtures.ts'
import { type RawRequest, rawServer } from './raw-server.ts'

// What an answer ends as, by the way on which its body is read: taken off its connection, copied from the stream of Node's HTTP
// client into pieces, or as that stream gives it. The last one is how all bodies were read before there was another way.

const certificate = await selfSigned('IP:127.0.0.1')
const body = Buffer.from(pseudoRandomBytes(300_000, 'body'))
const half = body.subarray(0, 150_000)
const size = body.length

const ways = {
  diverted: { isLent: true, read: (response: TransportResponse) => response.lent() },
  copied: { isLent: false, read: (response: TransportResponse) => response.lent() },
  streamed: { isLent: false, read: (response: TransportResponse) => response.body() },
} as const

function head(fields: readonly string[] = [`Content-Length: ${size}`], line = 'HTTP/1.1 200 OK'): string {
  return `${[line, ...fields].join('\r\n')}\r\n\r\n`
}

/** One packet of text and bytes. */
function packet(...parts: readonly (string | Buffer)[]): Buffer {
  return Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : part)))
}

const chunk = packet(`${size.toString(16)}\r\n`, body, '\r\n')
const chunked = head(['Transfer-Encoding: chunked', 'Trailer: Digest'])
const hint = '103 Early Hints\r\nLink: </a>\r\n\r\n'

/** What becomes of it: all of the body, or an error after so many bytes. */
type Outcome = 'all' | readonly [bytes: number, code: UpstreamError['code'], message: RegExp]

interface Case {
  readonly answer: (request: RawRequest) => unknown
  /** What happens when all that was sent of the body has been read. */
  readonly onRead?: (request: RawRequest) => unknown
  /** What happens when the body has been read to its end. */
  readonly onEnd?: (request: RawRequest) => unknown
  readonly outcome: Outcome
  /** Whether a second request goes over the same connection. */
  readonly isKept?: boolean
}

const cutAt = (bytes: number): Outcome => [
  bytes,
  'UNREACHABLE',
  new RegExp(`^docker.io: Content-Length mismatch: expected ${size} bytes, received ${bytes} bytes$`),
]
const noHttp = (bytes: number, what: string): Outcome => [
  bytes,
  'UNREACHABLE',
  new RegExp(`^docker.io: what answers at 127.0.0.1:\\d+ speaks no HTTP: Parse Error: ${what}$`),
]

const sendsHalf = ({ socket }: RawRequest) => socket.write(packet(head(), half))
const sendsAll = ({ socket }: RawRequest) => socket.write(packet(head(), body))
const sendsWithoutLength = ({ socket }: RawRequest) => socket.write(packet(head([]), body))

const cases: Readonly<Record<string, Case>> = {
  'all of it': { answer: sendsAll, outcome: 'all', isKept: true },
  'an end in the middle': {
    answer: ({ socket }) => socket.end(packet(head(), half)),
    outcome: cutAt(150_000),
  },
  'an end in the middle, later': {
    answer: sendsHalf,
    onRead: ({ socket }) => socket.end(),
    outcome: cutAt(150_000),
  },
  'a reset in the middle': {
    answer: sendsHalf,
    onRead: ({ plain }) => plain.resetAndDestroy(),
    outcome: cutAt(150_000),
  },
  'an end of what lies under TLS': {
    answer: sendsHalf,
    onRead: ({ plain }) => plain.end(),
    outcome: cutAt(150_000),
  },
  'one byte too few': {
    answer: ({ socket }) => socket.end(packet(head(), body.subarray(1))),
    outcome: cutAt(size - 1),
  },
  'a head and no body': { answer: ({ socket }) => socket.end(head()), outcome: cutAt(0) },
  'no byte more': {
    answer: sendsHalf,
    outcome: [150_000, 'TIMED_OUT', /^docker.io: no byte for 1 s$/],
  },
  'too many bytes': {
    answer: ({ socket }) => socket.write(packet(head(), body, 'more')),
    outcome: noHttp(size, 'Expected HTTP/, RTSP/ or ICE/ \\(HPE_INVALID_CONSTANT\\)'),
  },
  'too many bytes, later': {
    answer: sendsAll,
    onEnd: ({ socket }) => socket.write('more'),
    outcome: 'all',
  },
  'a second answer that nobody asked for': {
    answer: sendsAll,
    onEnd: ({ socket }) => socket.write(packet(head(['Content-Length: 5']), 'wrong')),
    outcome: 'all',
  },
  'too many bytes before it closes': {
    answer: ({ socket }) =>
      socket.end(packet(head(['Connection: close', `Content-Length: ${size}`]), body, 'more')),
    outcome: noHttp(size, 'Data after `Connection: close` \\(HPE_CLOSED_CONNECTION\\)'),
  },
  'a 100 before': {
    answer: ({ socket }) => socket.write(packet('HTTP/1.1 100 Continue\r\n\r\n', head(), body)),
    outcome: 'all',
    isKept: true,
  },
  'several 103 before, each in a packet of its own': {
    answer: async ({ socket }) => {
      for (const part of [`HTTP/1.1 ${hint}`, `HTTP/1.1 ${hint}`, packet(head(), body)]) {
        socket.write(part)
        await turn()
      }
    },
    outcome: 'all',
    isKept: true,
  },
  'a 103 and then an end': {
    answer: ({ socket }) => socket.end(`HTTP/1.1 ${hint}`),
    outcome: [0, 'UNREACHABLE', /socket hang up/],
  },
  'a head that comes byte by byte': {
    answer: async ({ socket }) => {
      socket.setNoDelay()
      for (const byte of head()) {
        socket.write(byte, 'latin1')
        await turn()
      }
      socket.write(body)
    },
    outcome: 'all',
    isKept: true,
  },
  'no length, and an end': { answer: ({ socket }) => socket.end(packet(head([]), body)), outcome: 'all' },
  'no length, and a reset': {
    answer: sendsWithoutLength,
    onRead: ({ plain }) => plain.resetAndDestroy(),
    outcome: 'all',
  },
  'no length, and an end of what lies under TLS': {
    answer: sendsWithoutLength,
    onRead: ({ plain }) => plain.end(),
    outcome: 'all',
  },
  'chunks and trailers': {
    answer: ({ socket }) => socket.write(packet(chunked, chunk, '0\r\nDigest: a\r\n\r\n')),
    outcome: 'all',
    isKept: true,
  },
  'chunks without their end': {
    answer: ({ socket }) => socket.end(packet(chunked, chunk)),
    outcome: [size, 'UNREACHABLE', /^docker.io: The server aborted pending request$/],
  },
  'HTTP/1.0 with a length': {
    answer: ({ socket }) => socket.end(packet(head(undefined, 'HTTP/1.0 200 OK'), body)),
    outcome: 'all',
  },
  'HTTP/1.0 without a length': {
    answer: ({ socket }) => socket.end(packet(head([], 'HTTP/1.0 200 OK'), body)),
    outcome: 'all',
  },
  'Connection: close': {
    answer: ({ socket }) => socket.end(packet(head(['Connection: close', `Content-Length: ${size}`]), body)),
    outcome: 'all',
  },
  'Connection: close, and it stays open all the same': {
    answer: ({ socket }) =>
      socket.write(packet(head(['Connection: close', `Content-Length: ${size}`]), body)),
    outcome: 'all',
  },
}

const badHeads: Readonly<Record<string, readonly [fields: readonly string[], what: string]>> = {
  'its length twice': [
    [`Content-Length: ${size}`, `Content-Length: ${size}`],
    'Duplicate Content-Length \\(HPE_UNEXPECTED_CONTENT_LENGTH\\)',
  ],
  'a length that is none': [
    ['Content-Length: 3e5'],
    'Invalid character in Content-Length \\(HPE_INVALID_CONTENT_LENGTH\\)',
  ],
  'a length that no number holds': [
    ['Content-Length: 99999999999999999999'],
    'Content-Length overflow \\(HPE_INVALID_CONTENT_LENGTH\\)',
  ],
  'a length and an encoding': [
    [`Content-Length: ${size}`, 'Transfer-Encoding: chunked'],
    "Transfer-Encoding can't be present with Content-Length \\(HPE_INVALID_TRANSFER_ENCODING\\)",
  ],
  'an encoding and a length': [
    ['Transfer-Encoding: identity', `Content-Length: ${size}`],
    "Content-Length can't be present with Transfer-Encoding \\(HPE_INVALID_CONTENT_LENGTH\\)",
  ],
}

const all: Readonly<Record<string, Case>> = {
  ...cases,
  ...Object.fromEntries(
    Object.entries(badHeads).map(([what, [fields, message]]) => [
      what,
      {
        answer: ({ socket }: RawRequest) => socket.write(packet(head(fields), body)),
        outcome: noHttp(0, message),
      },
    ]),
  ),
}

for (const [what, { answer, onRead, onEnd, outcome, isKept = false }] of Object.entries(all)) {
  for (const [name, { isLent, read }] of Object.entries(ways)) {
    for (const tls of [undefined, certificate]) {
      test(`${what}: ${name}${tls ? ' over TLS' : ''}`, async (t) => {
        let last: RawRequest | undefined
        const server = await rawServer(
          t,
          (request) => {
            last = request
            answer(request)
          },
          tls,
        )
        // No other is to be given up because this process, which is the server as well, could not run.
        const stallMs = what === 'no byte more' ? 1000 : 60_000
        const transport = transportTo(t, server.url.href, { ca: certificate.cert, stallMs })
        for (let count = 0; count < 2; count += 1) {
          const parts: Buffer[] = []
          let missing = answer === sendsHalf ? half.length : size
          const reading = async (): Promise<void> => {
            const response = await transport.request({ method: 'GET', url: server.url, isLent })
            for await (const part of read(response)) {
              parts.push(Buffer.from('bytes' in part ? part.bytes : part))
              missing -= part.length
              if (missing === 0 && last) onRead?.(last)
            }
            if (last) onEnd?.(last)
          }
          if (outcome === 'all') await reading()
          else
            await assert.rejects(reading(), { name: 'UpstreamError', code: outcome[1], message: outcome[2] })
          const received = Buffer.concat(parts)
          const expected = outcome === 'all' ? size : outcome[0]
          assert.equal(received.length, expected)
          const sent = what === 'one byte too few' ? body.subarray(1) : body
          assert.ok(received.equals(sent.subarray(0, expected)))
          if (!isKept) await until(() => server.open() === 0)
        }
        assert.equal(server.connections(), isKept ? 1 : 2)
      })
    }
  }
}
