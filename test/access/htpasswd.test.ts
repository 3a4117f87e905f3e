/**
 * Files of users. Thought of: what `htpasswd -B`, an editor on Windows and a person write; comments, blank lines, no
 * newline at the end; each other kind of hash; lines cut at every byte; costs; names twice, empty, with spaces, with
 * control characters; that no line is repeated in a message.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseHtpasswd } from '../../src/access/htpasswd.ts'
import { UnitError } from '../../src/units/unit-error.ts'

/** Of "secret". */
const hash = '$2b$10$bfyUt.vbGEken3o6kwXFDuXWI017Z/zIjtAtqR5ZJ2MYKkGw2u/8i'

function messageOf(text: string): string {
  try {
    parseHtpasswd(text)
  } catch (error) {
    assert.ok(error instanceof UnitError)
    return error.message
  }
  return ''
}

test('what people and programs write', () => {
  const y = hash.replace('$2b', '$2y')
  const a = hash.replace('$2b', '$2a')
  const text = `\uFEFF# the house\r\n\r\nann:${hash}\r\n   \n#bob:${hash}\nBob:${y}\nzoë@example.com:${a}`
  assert.deepEqual(
    [...parseHtpasswd(text)],
    [
      ['ann', hash],
      ['Bob', y],
      ['zoë@example.com', a],
    ],
  )
  assert.deepEqual([...parseHtpasswd('')], [])
  assert.deepEqual([...parseHtpasswd('# nobody yet\n')], [])
})

test('other hashes are refused by the name of their kind, and the line', () => {
  for (const [written, kind] of [
    ['$apr1$k3.2cCKe$AI7IRPlqwBVsoCbHvMU1Q.', /MD5/],
    ['$1$abc$abcdefghijklmnopqrstu/', /MD5/],
    ['{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=', /SHA-1/],
    ['{SSHA}abcdef', /salted SHA-1/],
    ['$5$salt$abcdef', /SHA-256/],
    ['$6$salt$abcdef', /SHA-512/],
    ['$y$j9T$abc$abcdef', /yescrypt/],
    ['$argon2id$v=19$m=65536,t=2,p=1$abc$def', /Argon2/],
    [hash.replace('$2b', '$2x'), /faulty bcrypt/],
    ['rl.3StKT.4T8M', /no bcrypt hash/],
    ['secret', /no bcrypt hash/],
    ['', /no hash/],
  ] as const) {
    const message = messageOf(`ann:${hash}\nbob:${written}\n`)
    assert.match(message, /^line 2 \(bob\) has .*htpasswd -B/, written)
    assert.match(message, kind, written)
    assert.ok(written === '' || !message.includes(written), 'a line is not repeated')
  }
})

test('a line cut at any byte is none, but where nothing of it is left', () => {
  const line = `bob:${hash}`
  for (let length = 1; length < line.length; length += 1) {
    const message = messageOf(`ann:${hash}\n${line.slice(0, length)}`)
    assert.match(message, /^line 2 /, `${length} bytes`)
  }
  assert.match(messageOf(`ann:${hash}x`), /cut short, or has something behind it/)
  assert.match(messageOf(`ann:${hash}:Ann of the house`), /something behind it/)
  assert.equal(messageOf(`ann:${hash}\n`), '')
})

test('costs: at most 14, at least 4', () => {
  const of = (cost: string) => messageOf(`ann:${hash.replace('$10$', `$${cost}$`)}`)
  for (const cost of ['04', '05', '12', '14']) assert.equal(of(cost), '', cost)
  for (const cost of ['15', '31', '99']) assert.match(of(cost), /cost \d\d: at most 14/, cost)
  for (const cost of ['00', '03']) assert.match(of(cost), /cost/, cost)
})

test('names: one line each, and such as can be told', () => {
  assert.match(messageOf(`ann:${hash}\nbob:${hash}\nann:${hash}`), /line 3 is another one for ann.*line 1/)
  assert.equal(parseHtpasswd(`ann:${hash}\nAnn:${hash}`).size, 2)
  assert.match(messageOf(`:${hash}`), /no name/)
  assert.match(messageOf(` ann:${hash}`), /space/)
  assert.match(messageOf(`ann :${hash}`), /space/)
  assert.match(messageOf(`an\u0007n:${hash}`), /characters/)
  assert.match(messageOf(`an\uFFFDn:${hash}`), /characters/)
  assert.match(messageOf(`${'a'.repeat(256)}:${hash}`), /longer than 255/)
  const message = messageOf('pass-word-one\npass-word-two\nx\ny\nz\nq\nw\n')
  assert.match(message, /^line 1 has no colon.*line 5.*\(and 2 more\)$/)
  assert.doesNotMatch(message, /pass-word/)
})
