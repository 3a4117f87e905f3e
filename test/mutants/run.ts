/**
 * Changes one place of the source at a time and runs the tests that execute it: a change that none of them notices is
 * a promise without a test. `npm run mutants -- --help` says how.
 */
import { createHash } from 'node:crypto'
import { globSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { dirname, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import type { Coverage } from './coverage.ts'
import { type Mutant, mutantsOf, mutate } from './mutations.ts'
import { type Judged, report } from './report.ts'
import { Workshop } from './workshop.ts'

const project = resolve(import.meta.dirname, '../..')
process.chdir(project)

const usage = `npm run mutants -- [--count N] [--seed N] [--file PATTERN]... [--tests PATTERN] [--budget SECONDS] [--jobs N] [--report FILE]

--count    mutants, chosen by the seed; 0: all (200)
--seed     (1)
--file     of what (src/{content,registry,storage}/**/*.ts and src/http/send-blob.ts)
--tests    files that may notice (test/{content,flow,http,interleavings,mirror,registry,storage,upstream}/**/*.test.ts)
--budget   of test time for one mutant, the nearest tests first (60)
--jobs     at a time (one for each core)
--report   a page to write, beside what is printed`

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '200' },
    seed: { type: 'string', default: '1' },
    file: {
      type: 'string',
      multiple: true,
      default: ['src/{content,registry,storage}/**/*.ts', 'src/http/send-blob.ts'],
    },
    tests: {
      type: 'string',
      default: 'test/{content,flow,http,interleavings,mirror,registry,storage,upstream}/**/*.test.ts',
    },
    budget: { type: 'string', default: '60' },
    jobs: { type: 'string', default: String(availableParallelism()) },
    report: { type: 'string' },
    help: { type: 'boolean' },
  },
})

/** Milliseconds that a test file may take without any mutant. */
const longestMs = 180_000

interface TestFile {
  readonly path: string
  readonly tookMs: number
  readonly coverage: Coverage
}

type Chosen = Mutant & { readonly file: string; readonly source: string }

async function main(): Promise<void> {
  const chosen = choose(globSync(values.file).sort())
  await using stack = new AsyncDisposableStack()
  const workshops: Workshop[] = []
  for (let n = 0; n < Number(values.jobs); n += 1) workshops.push(stack.use(await Workshop.open()))
  const tests: TestFile[] = []
  const leftOut: string[] = []
  await share(workshops, globSync(values.tests).sort(), async (workshop, path) => {
    try {
      tests.push({ path, ...(await workshop.cover(path, longestMs)) })
    } catch (error) {
      leftOut.push(path)
      process.stderr.write(`${error instanceof Error ? error.message : error}: it is left out\n`)
    }
  })
  process.stderr.write(`${tests.length} test files cover what they cover; ${chosen.length} mutants\n`)
  const judged: Judged[] = []
  await share(workshops, chosen, async (workshop, mutant) => {
    judged.push(await judge(workshop, mutant, tests))
    const last = judged.at(-1)
    process.stderr.write(
      `${judged.length} ${last?.verdict} ${last?.file}:${last?.lineNumber} ${last?.becomes}\n`,
    )
  })
  const page = report(judged, { command: `npm run mutants -- ${process.argv.slice(2).join(' ')}`, leftOut })
  process.stdout.write(page.text)
  if (values.report !== undefined) await writeFile(values.report, page.text)
  if (page.open > 0) process.exitCode = 1
}

/** The same ones for the same seed, wherever else the source changes. */
function choose(files: readonly string[]): Chosen[] {
  const all = files.flatMap((file) => {
    const source = readFileSync(file, 'utf8')
    return mutantsOf(source).map((mutant) => ({ ...mutant, file, source }))
  })
  const count = Number(values.count)
  if (count === 0) return all
  const rank = ({ file, source, start, end, becomes }: Chosen): string =>
    createHash('sha256')
      .update([values.seed, file, lineAt(source, start).text, source.slice(start, end), becomes].join('\0'))
      .digest('hex')
  return all
    .map((mutant) => ({ mutant, key: rank(mutant) }))
    .sort((one, other) => (one.key < other.key ? -1 : 1))
    .slice(0, count)
    .map(({ mutant }) => mutant)
}

async function judge(workshop: Workshop, mutant: Chosen, tests: readonly TestFile[]): Promise<Judged> {
  const { file, source, start } = mutant
  const changed = mutate(source, mutant)
  const about = {
    file,
    lineNumber: lineAt(source, start).number,
    line: lineAt(source, start).text.trim(),
    becomes: lineAt(changed, start).text.trim(),
  }
  const covering = tests
    .filter(({ coverage }) => coverage.get(file)?.(start))
    .sort((one, other) => distance(one, file) - distance(other, file) || one.tookMs - other.tookMs)
  if (covering.length === 0) return { ...about, verdict: 'not executed', by: undefined }
  let leftMs = Number(values.budget) * 1000
  for (const { path, tookMs } of covering) {
    const outcome = await workshop.test(path, { file, source: changed }, 3 * tookMs + 3000)
    if (outcome !== 'passed')
      return { ...about, verdict: outcome === 'failed' ? 'killed' : outcome, by: path }
    leftMs -= tookMs
    if (leftMs < 0) break
  }
  return { ...about, verdict: 'survived', by: undefined }
}

/** A test of the same folder is nearest. */
function distance({ path }: TestFile, file: string): number {
  const [folder, other] = [dirname(path).split('/').slice(1), dirname(file).split('/').slice(1)]
  const common = folder.findIndex((part, index) => part !== other[index])
  return -(common < 0 ? folder.length : common)
}

function lineAt(source: string, offset: number): { readonly number: number; readonly text: string } {
  const begin = source.lastIndexOf('\n', offset - 1) + 1
  const end = source.indexOf('\n', offset)
  return {
    number: source.slice(0, begin).split('\n').length,
    text: source.slice(begin, end < 0 ? undefined : end),
  }
}

/** One job a workshop at a time. */
async function share<Job>(
  workshops: readonly Workshop[],
  jobs: readonly Job[],
  work: (workshop: Workshop, job: Job) => Promise<void>,
): Promise<void> {
  const left = jobs.values()
  await Promise.all(
    workshops.map(async (workshop) => {
      for (const job of left) await work(workshop, job)
    }),
  )
}

if (values.help) process.stdout.write(`${usage}\n`)
else await main()
