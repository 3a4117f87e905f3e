import assert from 'node:assert/strict'

export type Part = {
  readonly start: number
  readonly end: number
  /** Bytes of the whole, as the part says. */
  readonly size: number
  readonly bytes: Buffer
}

/**
 * Reads a body of `multipart/byteranges` as RFC 2046 5.1.1 and RFC 9110 14.6 have it, and fails where anything is
 * otherwise: a field, a line end, a byte too many or too few. Written without a look at what makes such bodies.
 */
export function readMultipart(contentType: string | undefined, body: Buffer): Part[] {
  const match = /^multipart\/byteranges; boundary=([0-9A-Za-z'()+_,./:=?-]{1,70})$/.exec(contentType ?? '')
  assert.ok(match, `no multipart/byteranges: ${contentType}`)
  const delimiter = Buffer.from(`\r\n--${match[1]}`)
  // What comes before the first delimiter is a preamble; nobody needs one.
  let rest = Buffer.concat([Buffer.from('\r\n'), body])
  assert.equal(rest.indexOf(delimiter), 0, 'the body begins with its boundary')
  const parts: Part[] = []
  for (;;) {
    rest = rest.subarray(delimiter.length)
    if (rest.subarray(0, 2).equals(Buffer.from('--'))) break
    assert.equal(rest.subarray(0, 2).toString('latin1'), '\r\n', 'a delimiter is a line')
    const headEnd = rest.indexOf('\r\n\r\n')
    assert.ok(headEnd > 0, 'a part has fields')
    const fields = new Map<string, string>()
    for (const line of rest.subarray(2, headEnd).toString('latin1').split('\r\n')) {
      const [, name = '', value = ''] = /^([A-Za-z-]+): (.*)$/.exec(line) ?? assert.fail(`no field: ${line}`)
      assert.ok(!fields.has(name.toLowerCase()), `twice: ${name}`)
      fields.set(name.toLowerCase(), value)
    }
    assert.deepEqual([...fields.keys()].toSorted(), ['content-range', 'content-type'])
    assert.equal(fields.get('content-type'), 'application/octet-stream')
    const range = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(fields.get('content-range') ?? '')
    assert.ok(range, fields.get('content-range'))
    const [start = 0, last = 0, size = 0] = range.slice(1).map(Number)
    rest = rest.subarray(headEnd + 4)
    const end = rest.indexOf(delimiter)
    assert.ok(end >= 0, 'the last part has no end')
    assert.equal(end, last + 1 - start, 'a part has as many bytes as it says')
    parts.push({ start, end: last + 1, size, bytes: rest.subarray(0, end) })
    rest = rest.subarray(end)
  }
  assert.equal(rest.toString('latin1'), '--\r\n', 'nothing comes behind the end')
  return parts
}

/** What a client has of an answer to a Range header. */
export type RangeAnswer = {
  readonly status: number
  readonly headers: Headers
  readonly body: Buffer
  /** Of a 206: those of a multipart, or the one that it is. */
  readonly parts: readonly Part[]
}

/** Asks for ranges of a blob and reads the answer to its end. Rejects where it is cut. */
export async function askRanges(
  url: string,
  range: string,
  { headers = {}, method = 'GET' }: { headers?: Readonly<Record<string, string>>; method?: string } = {},
): Promise<RangeAnswer> {
  const response = await fetch(url, { method, headers: { ...headers, range } })
  const body = Buffer.from(await response.arrayBuffer())
  return { status: response.status, headers: response.headers, body, parts: partsOf(response, body) }
}

function partsOf({ status, headers }: Response, body: Buffer): Part[] {
  if (status !== 206) return []
  const contentRange = headers.get('content-range')
  // A client that sees one may not look into the body (RFC 9110 15.3.7.2).
  if (contentRange === null) return readMultipart(headers.get('content-type') ?? undefined, body)
  const [, first = '', last = '', size = ''] =
    /^bytes (\d+)-(\d+)\/(\d+)$/.exec(contentRange) ?? assert.fail(contentRange)
  assert.equal(body.length, Number(last) + 1 - Number(first))
  return [{ start: Number(first), end: Number(last) + 1, size: Number(size), bytes: body }]
}
