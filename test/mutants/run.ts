/**
 * Changes one place of the source at a time and runs the tests that execute it: a change that none of them notices is
 * a promise without a test. `npm run mutants -- --help` says how.
 */
import { globSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { basename, dirname, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { isExecuted } from './coverage.ts'
import { hashOf, kept, keyOfProject } from './kept.ts'
import { lineOf, type Mutant, mutantsOf, mutate } from './mutations.ts'
import { type Judged, report } from './report.ts'
import { type Baseline, Workshop } from './workshop.ts'

/** Every mutant of these, and a sample of each of the others. */
const whole = ['src/http/send-blob.ts', 'src/content/{size,windows}.ts']
const sampled = ['content', 'registry', 'storage'].map((room) => `src/${room}/**/*.ts`)

const usage = `npm run mutants -- [--count N] [--seed N] [--file PATTERN]... [--tests PATTERN] [--budget SECONDS] [--minutes N] [--jobs N] [--report FILE]

--count    mutants, chosen by the seed; 0: all (60; with --file 0)
--seed     (1)
--file     of these files only; else all of ${whole.join(' and ')}, and so many of each of
           ${sampled.join(', ')}
--tests    files that may notice (test/{content,flow,http,interleavings,mirror,registry,storage,upstream}/**/*.test.ts);
           slow ones of another folder only where no other executes the place
--budget   of test time for one mutant, the nearest tests first (30)
--minutes  after which no more mutants are made; another run goes on there (no end)
--jobs     at a time (one for each core)
--report   a page to write, beside what is printed

What a test file executes, and what became of a mutant, is kept between runs until the source, what tests share, or the
test file changes.`

const { values } = parseArgs({
  options: {
    count: { type: 'string' },
    seed: { type: 'string', default: '1' },
    file: { type: 'string', multiple: true },
    tests: {
      type: 'string',
      default: 'test/{content,flow,http,interleavings,mirror,registry,storage,upstream}/**/*.test.ts',
    },
    budget: { type: 'string', default: '30' },
    minutes: { type: 'string', default: 'Infinity' },
    jobs: { type: 'string', default: String(availableParallelism()) },
    report: { type: 'string' },
    help: { type: 'boolean' },
  },
})

/** Milliseconds from which on a test file is a slow one, whatever its name. */
const slowMs = 30_000

interface TestFile extends Baseline {
  readonly path: string
  readonly key: string
}

type Chosen = Mutant & { readonly file: string; readonly source: string }
type Verdict = Pick<Judged, 'verdict' | 'by'>

class Run {
  readonly #workshops: readonly Workshop[]
  readonly #key = keyOfProject()
  readonly failing: string[] = []

  constructor(workshops: readonly Workshop[]) {
    this.#workshops = workshops
  }

  /** Test files and what they execute; those that fail have a line on stderr. */
  async tests(paths: readonly string[]): Promise<TestFile[]> {
    const found: TestFile[] = []
    await this.#share(paths, async (workshop, path) => {
      const key = hashOf(this.#key, path, readFileSync(path, 'utf8'))
      // On a machine that is busy some fail that are no worse for it.
      const baseline = await kept(key, async () => (await workshop.baseline(path)) ?? workshop.baseline(path))
      if (baseline) found.push({ path, key, ...baseline })
      else {
        this.failing.push(path)
        process.stderr.write(`${path} fails without any mutant: it is left out\n`)
      }
    })
    return found
  }

  async judge(chosen: readonly Chosen[], tests: readonly TestFile[]): Promise<Judged[]> {
    const judged: Judged[] = []
    const end = performance.now() + Number(values.minutes) * 60_000
    await this.#share(chosen, async (workshop, mutant) => {
      if (performance.now() > end) return
      const { file, source } = mutant
      const changed = mutate(source, mutant)
      const covering = nearestFirst(coveringOf(mutant, tests), file)
      const key = hashOf(this.#key, file, changed, values.budget, ...covering.map((test) => test.key))
      const verdict = await kept(key, () => verdictOf(workshop, file, changed, covering))
      const about = lineOf(source, mutant)
      judged.push({ file, ...about, ...verdict })
      const count = `${judged.length}/${chosen.length}`
      const by = verdict.by === undefined ? '' : ` by ${verdict.by}`
      process.stderr.write(`${count} ${verdict.verdict}${by} ${file}:${about.lineNumber} ${about.becomes}\n`)
    })
    return judged
  }

  /** One job a workshop at a time. */
  async #share<Job>(
    jobs: readonly Job[],
    work: (workshop: Workshop, job: Job) => Promise<void>,
  ): Promise<void> {
    const left = jobs.values()
    await Promise.all(
      this.#workshops.map(async (workshop) => {
        for (const job of left) await work(workshop, job)
      }),
    )
  }
}

async function main(): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const workshops: Workshop[] = []
  for (let n = 0; n < Number(values.jobs); n += 1) workshops.push(stack.use(await Workshop.open()))
  const page = values.report === undefined ? undefined : resolve(values.report)
  // Whoever goes on writing in the project does not change what is read here.
  process.chdir(workshops[0]?.folder ?? '.')
  const count = Number(values.count ?? (values.file ? 0 : 60))
  const chosen = values.file
    ? sample(mutantsIn(values.file), count)
    : [...mutantsIn(whole), ...sampled.flatMap((room) => sample(mutantsIn([room], globSync(whole)), count))]
  const run = new Run(workshops)
  const tests = await run.tests(globSync(values.tests).sort())
  const judged = await run.judge(chosen, tests)
  const command = `npm run mutants -- ${process.argv.slice(2).join(' ')}`
  const { text, open } = report(judged, {
    command,
    leftOut: run.failing,
    notReached: chosen.length - judged.length,
  })
  process.stdout.write(text)
  if (page !== undefined) await writeFile(page, text)
  if (open > 0) process.exitCode = 1
}

function mutantsIn(patterns: readonly string[], without: readonly string[] = []): Chosen[] {
  return globSync(patterns)
    .filter((file) => !without.includes(file))
    .sort()
    .flatMap((file) => {
      const source = readFileSync(file, 'utf8')
      return mutantsOf(source).map((mutant) => ({ ...mutant, file, source }))
    })
}

/** The same ones for the same seed, wherever else the source changes. */
function sample(all: readonly Chosen[], count: number): readonly Chosen[] {
  if (count === 0) return all
  const rank = (mutant: Chosen): string => {
    const { file, source, start, end, becomes } = mutant
    return hashOf(String(values.seed), file, lineOf(source, mutant).line, source.slice(start, end), becomes)
  }
  return all
    .map((mutant) => ({ mutant, key: rank(mutant) }))
    .sort((one, other) => (one.key < other.key ? -1 : 1))
    .slice(0, count)
    .map(({ mutant }) => mutant)
}

/** Those that execute it; of slow ones those of the same folder only, or one above, unless no other does. */
function coveringOf({ file, start }: Chosen, tests: readonly TestFile[]): TestFile[] {
  const covering = tests.filter(({ coverage }) => isExecuted(coverage, file, start))
  const folder = dirname(file).replace('src/', 'test/')
  const near = covering.filter(({ path, tookMs }) => {
    const isSlow = tookMs >= slowMs || path.endsWith('.slow.test.ts')
    return !isSlow || `${folder}/`.startsWith(`${dirname(path)}/`)
  })
  return near.length > 0 ? near : covering
}

async function verdictOf(
  workshop: Workshop,
  file: string,
  source: string,
  tests: readonly TestFile[],
): Promise<Verdict> {
  if (tests.length === 0) return { verdict: 'not executed' }
  let leftMs = Number(values.budget) * 1000
  for (const { path, tookMs } of tests) {
    const outcome = await workshop.test(path, { file, source }, tookMs)
    if (outcome !== 'passed') return { verdict: outcome === 'failed' ? 'killed' : outcome, by: path }
    leftMs -= tookMs
    if (leftMs < 0) break
  }
  return { verdict: 'survived' }
}

/** A test of the same folder is nearest, of these one with a word of its name, of those that are as near the quickest. */
function nearestFirst(tests: readonly TestFile[], file: string): TestFile[] {
  const words = basename(file, '.ts').split('-')
  const distance = ({ path }: TestFile): number => {
    const [folder, other] = [dirname(path).split('/').slice(1), dirname(file).split('/').slice(1)]
    const common = folder.findIndex((part, index) => part !== other[index])
    const isNamesake = basename(path)
      .split(/[-.]/)
      .some((word) => words.includes(word))
    return -2 * (common < 0 ? folder.length : common) - (isNamesake ? 1 : 0)
  }
  return tests.toSorted((one, other) => distance(one) - distance(other) || one.tookMs - other.tookMs)
}

if (values.help) process.stdout.write(`${usage}\n`)
else await main()
