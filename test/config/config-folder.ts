import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { TestContext } from 'node:test'
import { type LoadConfigOptions, type LoadedConfig, loadConfig } from '../../src/config/load.ts'
import { ConfigError, type ConfigProblem } from '../../src/config/problems.ts'

/** A folder with files, removed after the test. */
export async function configFolder(
  t: TestContext,
  files: Readonly<Record<string, string>> = {},
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'larder-config-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true })
    await writeFile(join(folder, name), text, { mode: 0o600 })
  }
  return folder
}

/** Loads a mirror.yml with this text, alone in a folder. */
export async function load(
  t: TestContext,
  text: string,
  options: Partial<LoadConfigOptions> = {},
): Promise<LoadedConfig> {
  const workingDirectory = await configFolder(t, { 'mirror.yml': text })
  return loadConfig({ environment: {}, workingDirectory, ...options })
}

/** The problems of a configuration that must not load. */
export async function problemsOf(loading: Promise<LoadedConfig>): Promise<readonly ConfigProblem[]> {
  try {
    await loading
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error))
    return error.problems
  }
  assert.fail('the configuration was accepted')
}
