/** docs/errors.md has what the code has: each table is compared with its own in both directions. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { exitCodes } from '../src/cli/exit-codes.ts'
import { answerError, storageAnswers, upstreamAnswers } from '../src/http/errors.ts'
import { registryErrors } from '../src/oci/error.ts'
import { UpstreamError, type UpstreamErrorCode, upstreamFailures } from '../src/upstream/error.ts'

const root = join(import.meta.dirname, '..')
const page = readFileSync(join(root, 'docs/errors.md'), 'utf8')

/** The rows of the table below a heading, without the backticks of their first cell. */
function rowsBelow(heading: string): string[][] {
  const [, section = ''] = page.split(`\n## ${heading}\n`)
  const [body = ''] = section.split('\n## ')
  const [, , ...rows] = body.split('\n').filter((line) => line.startsWith('|'))
  return rows.map((row) => {
    const [first = '', ...cells] = row
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim())
    return [first.replaceAll('`', ''), ...cells]
  })
}

/** The numbers and the codes of a cell. */
function namedIn(cell = ''): { statuses: number[]; codes: string[] } {
  const statuses = [...cell.matchAll(/\b\d{3}\b/g)].map(([number]) => Number(number))
  return { statuses, codes: [...cell.matchAll(/`(\w+)`/g)].map(([, code = '']) => code).sort() }
}

test('what a client is told: each code with its statuses, the usual one first', () => {
  const told = rowsBelow('What a client is told')
  const statuses = told.map(([code = '', cell]) => [code, namedIn(cell).statuses] as const)
  assert.deepEqual(Object.fromEntries(statuses), registryErrors)
})

test('when an upstream fails: what each code is, what is tried again, and what the client gets', () => {
  const rows = rowsBelow('When an upstream fails').map(([code = '', , is, again, circuit, gets]) => [
    code,
    { is, again, circuit, ...namedIn(gets) },
  ])
  const codes = Object.keys(upstreamFailures) as UpstreamErrorCode[]
  const expected = codes.map((code) => {
    const error = new UpstreamError(code, 'docker.io', 'failed')
    const { is, retry: again } = upstreamFailures[code]
    const answers = (['manifest', 'blob', 'tags'] as const).map((kind) => answerError(error, kind))
    return [
      code,
      {
        is,
        again,
        circuit: error.opensCircuit ? 'opens' : '',
        statuses: [upstreamAnswers[code].status],
        codes: [...new Set(answers.map(({ code }) => code))].sort(),
      },
    ]
  })
  assert.deepEqual(Object.fromEntries(rows), Object.fromEntries(expected))
})

test('when the disk fails', () => {
  const rows = rowsBelow('When the disk fails').map(([code, , gets]) => [code, namedIn(gets).statuses])
  const expected = Object.entries(storageAnswers).map(([code, { status }]) => [code, [status]])
  assert.deepEqual(Object.fromEntries(rows), Object.fromEntries(expected))
})

test('exit codes', () => {
  const codes = rowsBelow('Exit codes').map(([code]) => Number(code))
  assert.deepEqual(codes, Object.values(exitCodes))
})

test('each warning and each error of the log is on the page with its level, and nothing else is', () => {
  const rows = rowsBelow('Lines of the log that want something done')
  const beginnings = rows.map(([line = '', level]) => ({ level, text: line.replace(/…$/, '') }))
  const lines = sources().flatMap(linesIn)
  assert.ok(lines.length > 25, String(lines.length))
  const missing = lines.filter(
    ({ level, text }) => !beginnings.some((one) => one.level === level && text.startsWith(one.text)),
  )
  assert.deepEqual(missing, [])
  const gone = beginnings.filter(({ text }) => !sources().some((source) => source.includes(text)))
  assert.deepEqual(gone, [])
})

function sources(): string[] {
  const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
  return files
    .filter((file) => file.endsWith('.ts'))
    .map((file) => withConstants(readFileSync(join(root, 'src', file), 'utf8')))
}

/** With the texts that a file has names for in the places of the names, and … for what differs. */
function withConstants(source: string): string {
  return source.replaceAll(/\$\{([^}]*)\}/g, (_, name) => {
    const [, text] = (/^\w+$/.test(name) && new RegExp(`const ${name} =\\s+'([^']*)'`).exec(source)) || []
    return text ?? '…'
  })
}

/** The messages of what a source warns of; of those that it puts together elsewhere, nothing. */
function linesIn(source: string): { level: string | undefined; text: string }[] {
  return [...source.matchAll(/logger\.(warn|error)\(/g)].flatMap(({ index, 0: { length }, 1: level }) => {
    let depth = 1
    let end = index + length
    for (; depth > 0; end += 1) depth += { '(': 1, ')': -1 }[source.charAt(end)] ?? 0
    return textsIn(source.slice(index + length, end))
      .slice(-1)
      .map((text) => ({ level, text }))
  })
}

/** Texts of more than one word. */
function textsIn(source: string): string[] {
  const texts = source.matchAll(/'((?:[^'\\\n]|\\.)* [^'\n]*)'|"([^"\n]* [^"\n]*)"|`([^`]* [^`]*)`/g)
  return [...texts].map(([, single, double, template]) => single ?? double ?? template ?? '')
}
