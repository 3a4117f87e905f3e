import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'

/** Debian's releases after the one that tests run on; their clients are newer. */
export const debianSuites = ['trixie', 'forky'] as const
export type DebianSuite = (typeof debianSuites)[number]

/** What is installed in the root of a suite. */
export const suitePackages = ['docker.io', 'containerd', 'podman', 'ca-certificates', 'iptables'] as const

/** Where the root of a suite is, outside the checkout. "npm run test:clients" makes it. */
export function suiteRoot(suite: DebianSuite): string {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache')
  return join(cache, 'larder-test-programs', `debian-${suite}`)
}

/** Tells whether a suite is there, as `meets` does for programs. */
export function meetsSuite(t: TestContext, suite: DebianSuite): boolean {
  if (existsSync(suiteRoot(suite))) return true
  const reason = `needs Debian ${suite} ("npm run test:clients" installs it)`
  if (process.env.CI) assert.fail(reason)
  t.skip(reason)
  return false
}
