// The suites of the OCI distribution specification are run twice: at the registry behind alone, and once more with all
// reads through Larder. What fails at the registry behind cannot be asked of its mirror; what fails through Larder
// alone is Larder's. Then they push to Larder itself, which has no registry behind it for what is pushed: there nothing
// may fail.
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { startDockerHub } from '../support/docker-hub.ts'
import { meets, type ProgramName } from '../support/programs.ts'
import { send } from '../support/push.ts'
import {
  type Check,
  failuresOf,
  runGinkgo,
  runProgram,
  type SuiteOptions,
} from './support/conformance-suites.ts'
import { startLarder } from './support/larder-process.ts'
import { htpasswdFile } from './support/logins.ts'
import { startOlareg } from './support/olareg-process.ts'
import { startReadingSide } from './support/reading-side.ts'
import { registryPrograms, startRegistry } from './support/registry-process.ts'
import { scratchFolder } from './support/scratch-folder.ts'

type Behind = {
  readonly programs: readonly ProgramName[]
  start(): Promise<AsyncDisposable & { readonly url: string }>
}

/** Debian's, which knows no referrers. */
const distribution: Behind = { programs: registryPrograms, start: () => startRegistry({ auth: 'none' }) }
/** One that has all of the specification, and fails at next to nothing: so that nothing of the mirror is hidden. */
const olareg: Behind = { programs: ['olareg'], start: startOlareg }

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
    const alone = await run({ host: new URL(registry.url).host, prefix: 'direct', isOnlyReading: true })
    const mirrored = await run({ host: through.host, prefix: 'mirrored', isOnlyReading: true })

    // A suite that was configured wrongly ends with 0 and has looked at nothing.
    const passed = passedOf(mirrored.checks)
    t.diagnostic(
      `${passed} of ${mirrored.checks.length} passed; at the registry alone ${passedOf(alone.checks)}`,
    )
    assert.ok(passed >= leastPassed, `only ${passed} checks passed`)
    assert.equal(mirrored.checks.length, alone.checks.length, 'both looked at the same')
    const read = larder.requests().filter(({ url }) => url.includes('/mirrored/'))
    assert.ok(read.length > passed / 4, `only ${read.length} requests came through the mirror`)
    assert.deepEqual(failuresBeyond(mirrored.checks, alone.checks), [])
  })
}

/** What is required: no kind of data is turned off, and what a suite leaves out it leaves out by itself. */
const suites = [
  { what: 'the program, 1.1', run: runProgram, passed: 860, skipped: 0 },
  {
    what: 'the program, development version',
    run: (options: SuiteOptions) => runProgram(options, 'dev'),
    passed: 986,
    skipped: 0,
  },
  { what: 'the older suite', run: runGinkgo, passed: 74, skipped: 5 },
] as const

const alice = { user: 'alice', password: 'correct horse' }

for (const [where, { hasUpstream = false, login }] of Object.entries({
  'a registry of its own, without any upstream': {},
  'a registry beside a mirror': { hasUpstream: true },
  'a registry with users': { hasUpstream: true, login: alice },
} as Record<string, { hasUpstream?: boolean; login?: typeof alice }>)) {
  test(`Larder is ${where}: nothing fails`, { timeout: 300_000 }, async (t) => {
    if (
      !meets(t, {
        programs: ['conformance', 'conformance-ginkgo', ...(login ? (['htpasswd'] as const) : [])],
      })
    )
      return
    await using hub = await startDockerHub()
    await using scratch = await scratchFolder()
    const users = join(scratch.path, 'users')
    if (login) await writeFile(users, await htpasswdFile([login]))
    await using larder = await startLarder({
      upstreams: [{ name: 'docker.io', url: hasUpstream ? hub.url : 'http://127.0.0.1:9' }],
      environment: login ? { MIRROR_AUTH_HTPASSWD: users } : {},
    })
    const unasked = await send('POST', `${larder.url}/v2/local/app/blobs/uploads/`)
    assert.equal(unasked.status, login ? 401 : 202, 'a push without a login')
    for (const [index, { what, run, passed, skipped }] of suites.entries()) {
      const options = { host: larder.host, prefix: `local/suite-${index}`, ...(login && { login }) }
      const found = await run(options)
      t.diagnostic(`${what}: ${found.passed} passed, ${found.failed} failed, ${found.skipped} skipped`)
      assert.deepEqual([...failuresOf(found.checks)], [], what)
      assert.equal(found.failed, 0, what)
      assert.ok(found.passed >= passed, `${what}: only ${found.passed} passed`)
      assert.ok(found.skipped <= skipped, `${what}: ${found.skipped} were skipped`)
    }
    assert.deepEqual(
      hub.requests.filter(({ url }) => url.includes('suite-')).map(({ url }) => url),
      [],
      'no upstream hears of what is local',
    )
  })
}

function passedOf(checks: readonly Check[]): number {
  return checks.filter(({ status }) => status === 'passed').length
}

/** The names of the checks that fail more often here than there. */
function failuresBeyond(here: readonly Check[], there: readonly Check[]): string[] {
  const [ours, theirs] = [failuresOf(here), failuresOf(there)]
  return [...ours].filter(([name, count]) => count > (theirs.get(name) ?? 0)).map(([name]) => name)
}
