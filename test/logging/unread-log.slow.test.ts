/** What becomes of a process, and of its log, when nobody reads that or the disk below it is full. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { smallDisk, smallDiskNeeds } from '../storage/files/small-disk.ts'
import { type ForkedNode, forkNode } from '../support/child-process.ts'
import { reasonToSkip } from '../support/programs.ts'
import type { Done, Order } from './log-child.ts'

/** The log of 30 MB: more than a pipe and all that may wait hold. */
const many = 80_000

function child(t: TestContext, output: number | 'pipe'): ForkedNode {
  const process = forkNode(new URL('./log-child.ts', import.meta.url), [], { output })
  t.after(() => process.kill('SIGKILL'))
  return process
}

async function writeLines(process: ForkedNode, lines: number): Promise<Done> {
  process.send({ lines } satisfies Order)
  const [done] = await once(process, 'message')
  return done
}

/** Its exit code. */
async function ended(process: ForkedNode): Promise<number> {
  process.send('end' satisfies Order)
  const [code] = await once(process, 'exit', { signal: AbortSignal.timeout(20_000) })
  return code
}

/** Everything that it writes from now on; `onText` is called with what came so far. */
async function readAll({ stdout }: ForkedNode, onText = (_text: string): void => {}): Promise<string[]> {
  let text = ''
  for await (const part of stdout?.setEncoding('utf8') ?? []) {
    text += part
    onText(text)
  }
  return linesOf(text)
}

function linesOf(text: string): string[] {
  return text.trimEnd().split('\n')
}

const isMissing = 'lines of the log are missing here'

function lostBy(lines: readonly string[]): number {
  const lost = lines.filter((line) => line.includes(isMissing))
  return lost.reduce((sum, line) => sum + JSON.parse(line).lines, 0)
}

/** How many lines were written or are told to be missing. */
function accountedFor(lines: readonly string[]): number {
  return lines.filter((line) => !line.includes(isMissing)).length + lostBy(lines)
}

test('nobody reads for a while: memory stays bounded, and one line says how many are missing', {
  timeout: 120_000,
}, async (t) => {
  const process = child(t, 'pipe')
  const { grownBytes } = await writeLines(process, many)
  assert.ok(grownBytes < 20_000_000, `${grownBytes} bytes for a log of 30 MB`)
  // At its end the process waits for its reader for no more than a second.
  const all = Promise.withResolvers<void>()
  const reading = readAll(process, (text) => {
    const isTold = text.endsWith('\n') && text.slice(-2000).includes(isMissing)
    if (isTold && accountedFor(linesOf(text)) === many + 1) all.resolve()
  })
  await writeLines(process, 1)
  await all.promise
  const code = await ended(process)
  const lines = await reading
  const told = lines.filter((line) => line.includes(isMissing))
  assert.deepEqual([code, told.length], [0, 1])
  assert.equal(accountedFor(lines), many + 1)
})

test('what fits is written before the process ends, and nobody is waited for in vain', async (t) => {
  const process = child(t, 'pipe')
  // More than a pipe holds.
  await writeLines(process, 2000)
  const [code, lines] = await Promise.all([ended(process), readAll(process)])
  assert.deepEqual([code, lines.length], [0, 2000])
  const unread = child(t, 'pipe')
  await writeLines(unread, 2000)
  assert.equal(await ended(unread), 0)
})

test('whoever read has gone: the process goes on, and ends as ever', async (t) => {
  const process = child(t, 'pipe')
  process.stdout?.destroy()
  const { grownBytes } = await writeLines(process, 20_000)
  assert.ok(grownBytes < 20_000_000, String(grownBytes))
  assert.equal(await ended(process), 0)
})

test('the disk is full for a while', { skip: reasonToSkip(smallDiskNeeds) }, async (t) => {
  const folder = await smallDisk(t, 'size=1m')
  writeFileSync(join(folder, 'ballast'), Buffer.alloc(700_000))
  const file = join(folder, 'log')
  const output = openSync(file, 'a')
  t.after(() => closeSync(output))
  const process = child(t, output)
  await writeLines(process, 2000)
  rmSync(join(folder, 'ballast'))
  await writeLines(process, 10)
  assert.equal(await ended(process), 0)
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
  const written = lines.filter((line) => line.includes('"msg":"request"}'))
  // One that was cut where the disk ended counts as written.
  const cut = lines.filter((line) => line !== '' && !line.endsWith('}'))
  assert.ok(cut.length <= 1, cut.join('\n'))
  assert.equal(written.length + cut.length + lostBy(lines), 2010)
  assert.ok(lines.at(-1)?.includes('"line":9,'))
})
