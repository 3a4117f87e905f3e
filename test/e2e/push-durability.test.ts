/**
 * What a push is told, and what is then on the disk. Thought of: a kill while a piece comes in, again and again; a kill
 * before the first byte; what is synced before a blob is acknowledged, in which order and how often, seen in the calls of
 * the process.
 */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { blobOf, pseudoRandomBytes } from '../support/images.ts'
import { meets } from '../support/programs.ts'
import { beginUpload, pushBlob, send, withDigest } from '../support/push.ts'
import { type LarderProcess, startLarder } from './support/larder-process.ts'
import { scratchFolder } from './support/scratch-folder.ts'

const mebibyte = 1024 * 1024
const upstreams = [{ name: 'docker.io', url: 'http://127.0.0.1:9' }]

/** Sends pieces until the mirror is gone; returns how many bytes it has acknowledged. */
async function sendUntilKilled(
  mirror: LarderProcess,
  url: string,
  bytes: Uint8Array,
  from: number,
): Promise<number> {
  let acknowledged = from
  for (let piece = 0; ; piece += 1) {
    const end = Math.min(bytes.length, acknowledged + 100_000 + piece * 30_001)
    const body = bytes.subarray(acknowledged, end)
    const patching = send('PATCH', url, {
      body,
      headers: { 'content-range': `${acknowledged}-${end - 1}` },
    })
    // In the middle of a piece, or wherever it is by then.
    if (piece === 2) void mirror.kill()
    const answered = await patching.catch(() => undefined)
    if (answered === undefined) return acknowledged
    assert.equal(answered.status, 202, answered.text)
    acknowledged = end
    assert.equal(answered.headers.range, `0-${end - 1}`)
  }
}

test('an upload goes on with all that was acknowledged, however often the mirror is killed', {
  timeout: 60_000,
}, async () => {
  await using scratch = await scratchFolder()
  const blob = blobOf(pseudoRandomBytes(5 * mebibyte, 'killed'))
  let path: string | undefined
  let acknowledged = 0
  for (let round = 0; round < 4; round += 1) {
    await using mirror = await startLarder({ directory: scratch.path, upstreams })
    path ??= new URL(await beginUpload(`${mirror.url}/v2/killed`)).pathname
    const url = `${mirror.url}${path}`
    const { status, headers } = await send('GET', url)
    assert.equal(status, 204, `after ${round} kills`)
    const here = headers.range === '0-0' ? 0 : Number(String(headers.range).slice(2)) + 1
    assert.ok(here >= acknowledged, `${acknowledged} bytes were acknowledged, and ${here} are here`)
    acknowledged = await sendUntilKilled(mirror, url, blob.bytes, here)
    assert.ok(acknowledged > here)
  }
  await using mirror = await startLarder({ directory: scratch.path, upstreams })
  const { headers } = await send('GET', `${mirror.url}${path}`)
  const here = Number(String(headers.range).slice(2)) + 1
  const put = await send('PUT', withDigest(`${mirror.url}${path}`, blob.digest), {
    body: blob.bytes.subarray(here),
    headers: { 'content-range': `${here}-${blob.size - 1}` },
  })
  assert.equal(put.status, 201, put.text)
  assert.equal((await pull(`${mirror.url}/v2/killed/blobs/${blob.digest}`)).digest, blob.digest)
})

/** The calls of a trace in the order in which they ended. */
function callsOf(trace: string): string[] {
  const begun = new Map<string, string>()
  return trace.split('\n').flatMap((line) => {
    const [, pid = '', call = ''] = /^(\d+) +(.*)$/.exec(line) ?? []
    if (call.endsWith('<unfinished ...>')) {
      begun.set(pid, call.replace(/ *<unfinished \.\.\.>$/, ''))
      return []
    }
    const rest = /^<\.\.\. \w+ resumed>(.*)$/.exec(call)?.[1]
    return rest === undefined ? [call] : [`${begun.get(pid)}${rest}`]
  })
}

test('a blob is acknowledged after its file, its folder and its record are synced, each once', {
  timeout: 60_000,
}, async (t) => {
  if (!meets(t, { programs: ['strace'] })) return
  await using scratch = await scratchFolder()
  const trace = join(scratch.path, 'trace')
  const data = join(scratch.path, 'data')
  const what = 'trace=fdatasync,fsync,rename,write,writev,sendto'
  const by = [['strace', '-D', '-f', '-qq', '-y', '-s', '700', '-e', what, '-o', trace]] as const
  const blobs = Array.from({ length: 32 }, (_, n) => blobOf(pseudoRandomBytes(50_000 + n, `synced ${n}`)))
  {
    await using mirror = await startLarder({ directory: data, upstreams, by })
    for (const _ of blobs) {
      const url = await beginUpload(`${mirror.url}/v2/begun`)
      assert.equal((await send('PATCH', url, { body: Buffer.from('some') })).status, 202)
    }
    // The folders are made, and synced with those above them, by the first of each.
    for (let n = 0; n < blobs.length; n += 8) {
      await Promise.all(blobs.slice(n, n + 8).map((blob) => pushBlob(`${mirror.url}/v2/synced`, blob)))
    }
  }
  const calls = callsOf(await readFile(trace, 'utf8'))
  const at = (pattern: RegExp, from = 0): number =>
    calls.findIndex((call, index) => index >= from && pattern.test(call))
  for (const { digest } of blobs) {
    const hex = digest.slice(7)
    const folder = `${data}/blobs/sha256/${hex.slice(0, 2)}`
    const renamed = at(new RegExp(`^rename\\("[^"]*", "${folder}/${hex}"\\) += 0`))
    assert.ok(renamed > 0, `${digest} is renamed to its place`)
    const file = /^rename\("([^"]*)"/.exec(calls[renamed] ?? '')?.[1]
    const synced = calls.filter((call) => call.startsWith('fdatasync(') && call.includes(`<${file}>`))
    assert.equal(synced.length, 1, 'one fdatasync a blob')
    assert.ok(calls.indexOf(synced[0] ?? '') < renamed)
    const inFolder = at(new RegExp(`^fsync\\(\\d+<${folder}>\\) += 0`), renamed)
    const recorded = at(/^(?:fdatasync|fsync)\(\d+<[^>]*catalog\.db-wal>\) += 0/, inFolder)
    const told = at(new RegExp(`^write.*HTTP/1\\.1 201.*${hex}`))
    assert.ok(inFolder > renamed && recorded > inFolder && told > recorded, digest)
  }
  const records = calls.filter((call) => /^(?:fdatasync|fsync)\(\d+<[^>]*catalog\.db-wal>/.test(call))
  // One for a blob at most, none for an upload that only begins, and some of the start.
  assert.ok(records.length < 1.5 * blobs.length, `commits are grouped: ${records.length}`)
})
