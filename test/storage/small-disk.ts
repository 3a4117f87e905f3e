import { spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'

/**
 * Why a test that needs root and these programs cannot run here; false where it can. A program that is missing
 * in CI is no reason: there the test runs, and fails.
 */
export function reasonToSkip(...programs: string[]): string | false {
  if (process.platform !== 'linux') return 'needs Linux'
  if (process.getuid?.() !== 0) return 'needs root'
  const missing = programs.filter((program) => !succeeds('which', program))
  if (missing.length > 0) return process.env.CI ? false : `needs ${missing.join(', ')}`
  if (programs.includes('mount') && !succeeds('unshare', '--mount', 'true')) {
    return 'mounting is not allowed here'
  }
  if (programs.includes('strace') && !succeeds('strace', '-o', '/dev/null', 'true')) {
    return 'tracing is not allowed here'
  }
  return false
}

function succeeds(program: string, ...parameters: string[]): boolean {
  return spawnSync(program, parameters).status === 0
}

/** Runs a program to its end. Throws with what it said where it fails. */
export function run(program: string, ...parameters: string[]): void {
  const { status, stderr, error } = spawnSync(program, parameters, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${program} ${parameters.join(' ')}: ${stderr}`, { cause: error })
}

/** A file system in memory with mount options such as size=3m, unmounted after the test. */
export async function smallDisk(t: TestContext, options: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'larder-disk-'))
  run('mount', '-t', 'tmpfs', '-o', options, 'tmpfs', folder)
  t.after(async () => {
    run('umount', '--lazy', folder)
    await rm(folder, { recursive: true })
  })
  return folder
}
