import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { finish } from '../../support/child-process.ts'
import { scratchFolder } from './scratch-folder.ts'

/** A check by its name, and how it ended; several checks can have the same name. */
export type Check = { readonly name: string; readonly status: string }

/** What a suite found. */
export type Found = {
  readonly checks: readonly Check[]
  /** As the suite counts: what one check says about several parts of the specification counts once for each. */
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

export type SuiteOptions = {
  /** `host:port`, where it speaks HTTP. */
  readonly host: string
  /** The repositories that are used are below it. */
  readonly prefix: string
  /** Nothing is pushed but what has to be read, and nothing deleted. */
  readonly isOnlyReading?: boolean
  readonly login?: { readonly user: string; readonly password: string }
}

/** Neither suite has a time-out of its own: a registry that hangs would hang it. In milliseconds. */
const timeoutMs = 120_000

/**
 * Runs the program of the specification at a registry, with all kinds of data. A suite that was configured wrongly ends
 * with 0 and has looked at nothing: whoever calls requires a number of passes.
 */
export async function runProgram(
  { host, prefix, isOnlyReading = false, login }: SuiteOptions,
  version: '1.1' | 'dev' = '1.1',
): Promise<Found> {
  await using results = await scratchFolder()
  const ended = await finish('conformance', [], {
    workingDirectory: results.path,
    environment: {
      OCI_REGISTRY: host,
      OCI_TLS: 'disabled',
      OCI_VERSION: version,
      OCI_REPO1: `${prefix}/a`,
      OCI_REPO2: `${prefix}/b`,
      OCI_RESULTS_DIR: results.path,
      ...(login && { OCI_USERNAME: login.user, OCI_PASSWORD: login.password }),
      ...(isOnlyReading && {
        OCI_API_BLOBS_DELETE: 'false',
        OCI_API_MANIFESTS_DELETE: 'false',
        OCI_API_TAGS_DELETE: 'false',
      }),
    },
    timeoutMs,
  })
  assert.match(ended.stdout, /^OCI Conformance Result: (Pass|FAIL)$/m, ended.stderr)
  const counted = (name: string) =>
    Number(new RegExp(`^ {2}${name}\\.+: +(\\d+)$`, 'm').exec(ended.stdout)?.[1] ?? Number.NaN)
  return {
    checks: await readChecks(results.path),
    passed: counted('Pass'),
    failed: counted('FAIL') + counted('Error'),
    skipped: counted('Skip'),
  }
}

/** The suite of 2023 with its 79 specs, as a test program of Go. */
export async function runGinkgo({
  host,
  prefix,
  isOnlyReading = false,
  login,
}: SuiteOptions): Promise<Found> {
  await using results = await scratchFolder()
  const ended = await finish('conformance-ginkgo', ['--ginkgo.no-color'], {
    workingDirectory: results.path,
    environment: {
      OCI_ROOT_URL: `http://${host}`,
      OCI_NAMESPACE: `${prefix}/c`,
      OCI_CROSSMOUNT_NAMESPACE: `${prefix}/d`,
      OCI_REPORT_DIR: results.path,
      OCI_TEST_PULL: '1',
      OCI_TEST_CONTENT_DISCOVERY: '1',
      ...(login && { OCI_USERNAME: login.user, OCI_PASSWORD: login.password }),
      ...(!isOnlyReading && { OCI_TEST_PUSH: '1', OCI_TEST_CONTENT_MANAGEMENT: '1' }),
    },
    timeoutMs,
  })
  const counts = /(\d+) Passed \| (\d+) Failed \| \d+ Pending \| (\d+) Skipped/.exec(ended.stdout)
  assert.ok(counts, ended.stdout + ended.stderr)
  const [passed, failed, skipped] = counts.slice(1).map(Number)
  return {
    checks: await readChecks(results.path),
    passed: passed ?? 0,
    failed: failed ?? 0,
    skipped: skipped ?? 0,
  }
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

/** How many checks of a name neither passed nor were left out. */
export function failuresOf(checks: readonly Check[]): ReadonlyMap<string, number> {
  const failed = checks.filter(({ status }) => status !== 'passed' && status !== 'skipped')
  return new Map(
    Object.entries(Object.groupBy(failed, ({ name }) => name)).map(([name, all = []]) => [name, all.length]),
  )
}
