// The suites of the OCI distribution specification are run twice: at the registry behind alone, and once more with all
// reads through Larder. What fails at the registry behind cannot be asked of its mirror; what fails through Larder
// alone is Larder's. What is pushed to Larder itself has no registry behind it.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { finish } from '../support/child-process.ts'
import { meets, type ProgramName } from '../support/programs.ts'
import { startLarder } from './support/larder-process.ts'
import { startOlareg } from './support/olareg-process.ts'
import { startReadingSide } from './support/reading-side.ts'
import { registryPrograms, startRegistry } from './support/registry-process.ts'
import { scratchFolder } from './support/scratch-folder.ts'

/** A check by its name, and how it ended; several checks can have the same name. */
type Check = { readonly name: string; readonly status: string }

type Behind = {
  readonly programs: readonly ProgramName[]
  start(): Promise<AsyncDisposable & { readonly url: string }>
}

/** Debian's, which knows no referrers. */
const distribution: Behind = { programs: registryPrograms, start: () => startRegistry({ auth: 'none' }) }
/** One that has all of the specification, and fails at next to nothing: so that nothing of the mirror is hidden. */
const olareg: Behind = { programs: ['olareg'], start: startOlareg }

/** Neither suite has a time-out of its own: a registry that hangs would hang it. In milliseconds. */
const timeoutMs = 120_000

const cases = [
  { program: 'conformance', run: runProgram, what: 'olareg', behind: olareg, leastPassed: 450 },
  { program: 'conformance', run: runProgram, what: 'distribution', behind: distribution, leastPassed: 400 },
  { program: 'conformance-ginkgo', run: runGinkgo, what: 'olareg', behind: olareg, leastPassed: 35 },
  {
    program: 'conformance-ginkgo',
    run: runGinkgo,
    what: 'distribution',
    behind: distribution,
    leastPassed: 30,
  },
] as const

for (const { program, run, what, behind, leastPassed } of cases) {
  test(`${program} reads through the mirror as from ${what} behind it`, { timeout: 300_000 }, async (t) => {
    if (!meets(t, { programs: [...behind.programs, program] })) return
    await using registry = await behind.start()
    // The suite changes what it has read a moment before, so nothing may be trusted for a while.
    await using larder = await startLarder({
      upstreams: [{ name: 'docker.io', url: registry.url }],
      environment: { MIRROR_CACHE_REVALIDATE: '0', MIRROR_CACHE_NEGATIVE: '0' },
    })
    await using through = await startReadingSide({ reads: larder.url, writes: registry.url })
    const alone = await run(new URL(registry.url).host, 'direct')
    const mirrored = await run(through.host, 'mirrored')

    // A suite that was configured wrongly ends with 0 and has looked at nothing.
    const passed = passedOf(mirrored)
    t.diagnostic(`${passed} of ${mirrored.length} passed; at the registry alone ${passedOf(alone)}`)
    assert.ok(passed >= leastPassed, `only ${passed} checks passed`)
    assert.equal(mirrored.length, alone.length, 'both looked at the same')
    const read = larder.requests().filter(({ url }) => url.includes('/mirrored/'))
    assert.ok(read.length > passed / 4, `only ${read.length} requests came through the mirror`)
    assert.deepEqual(failuresBeyond(mirrored, alone), [])
  })
}

test('conformance pushes to repositories of this mirror alone, and finds nothing wrong', {
  timeout: 150_000,
}, async (t) => {
  if (!meets(t, { programs: [...registryPrograms, 'conformance'] })) return
  await using registry = await startRegistry({ auth: 'none' })
  await using larder = await startLarder({ upstreams: [{ name: 'docker.io', url: registry.url }] })
  const checks = await runProgram(larder.host, 'local')
  t.diagnostic(`${passedOf(checks)} of ${checks.length} passed`)
  assert.ok(passedOf(checks) >= 500, `only ${passedOf(checks)} checks passed`)
  assert.deepEqual([...failuresOf(checks)], [])
})

/**
 * Runs the program of specification 1.1 at a registry, in repositories below `prefix`. A mirror keeps what it was
 * given, so deletions are no matter of its.
 */
async function runProgram(host: string, prefix: string): Promise<readonly Check[]> {
  await using results = await scratchFolder()
  const ended = await finish('conformance', [], {
    workingDirectory: results.path,
    environment: {
      OCI_REGISTRY: host,
      OCI_TLS: 'disabled',
      OCI_REPO1: `${prefix}/a`,
      OCI_REPO2: `${prefix}/b`,
      OCI_RESULTS_DIR: results.path,
      OCI_API_BLOBS_DELETE: 'false',
      OCI_API_MANIFESTS_DELETE: 'false',
      OCI_API_TAGS_DELETE: 'false',
    },
    timeoutMs,
  })
  assert.match(ended.stdout, /^OCI Conformance Result: (Pass|FAIL)$/m, ended.stderr)
  return await readChecks(results.path)
}

/** The suite of 2023, as a test program of Go. */
async function runGinkgo(host: string, prefix: string): Promise<readonly Check[]> {
  await using results = await scratchFolder()
  const ended = await finish('conformance-ginkgo', [], {
    workingDirectory: results.path,
    environment: {
      OCI_ROOT_URL: `http://${host}`,
      OCI_NAMESPACE: `${prefix}/c`,
      OCI_CROSSMOUNT_NAMESPACE: `${prefix}/d`,
      OCI_REPORT_DIR: results.path,
      OCI_TEST_PULL: '1',
      OCI_TEST_CONTENT_DISCOVERY: '1',
    },
    timeoutMs,
  })
  assert.match(ended.stdout, /Ran \d+ of \d+ Specs/, ended.stderr)
  return await readChecks(results.path)
}

/** Reads the report in JUnit's form. Whether a check of the program failed is `failure` there, of Ginkgo `failed`. */
async function readChecks(folder: string): Promise<readonly Check[]> {
  const report = await readFile(`${folder}/junit.xml`, 'utf8')
  const found = report.matchAll(/<testcase name="(?<name>[^"]*)"[^>]* status="(?<status>\w+)"/g)
  return Array.from(found, ({ groups }) => ({
    name: groups?.name ?? '',
    status: groups?.status ?? '',
  }))
}

function passedOf(checks: readonly Check[]): number {
  return checks.filter(({ status }) => status === 'passed').length
}

/** The names of the checks that fail more often here than there. */
function failuresBeyond(here: readonly Check[], there: readonly Check[]): string[] {
  const [ours, theirs] = [failuresOf(here), failuresOf(there)]
  return [...ours].filter(([name, count]) => count > (theirs.get(name) ?? 0)).map(([name]) => name)
}

/** How many checks of a name neither passed nor were left out. */
function failuresOf(checks: readonly Check[]): ReadonlyMap<string, number> {
  const failed = checks.filter(({ status }) => status !== 'passed' && status !== 'skipped')
  return new Map(
    Object.entries(Object.groupBy(failed, ({ name }) => name)).map(([name, all = []]) => [name, all.length]),
  )
}
