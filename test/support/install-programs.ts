// Installs the programs of the table that this machine misses, by apt-get and "go install": "npm run test:programs".
// With "-- --lane clients" also those that only "npm run test:clients" needs. It can be run again and again.
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { finish, run } from './child-process.ts'
import {
  describe,
  type GoProgram,
  goBinary,
  goFolder,
  type ProgramName,
  pathOf,
  programs,
} from './programs.ts'

const { values } = parseArgs({ options: { lane: { type: 'string' } } })
const hour = 3_600_000
/** As whoever runs this has it: registries, proxies and certificates of the house are set there. */
const environment = process.env as Readonly<Record<string, string>>

const missing = (Object.keys(programs) as ProgramName[]).filter((name) => {
  const { lane } = programs[name] as { lane?: string }
  return (lane === undefined || lane === values.lane) && pathOf(name) === undefined
})
const goPrograms = missing.flatMap((name) => {
  const program = programs[name]
  return 'go' in program ? [{ name, program: program as GoProgram }] : []
})
await installPackages([...new Set([...missing.flatMap(packageOf), ...(await buildPackages())])])
for (const { name, program } of goPrograms) await buildProgram(name, program)
const left = missing.filter((name) => pathOf(name) === undefined)
if (left.length > 0) throw new Error(`still not there: ${left.map(describe).join(', ')}`)

function packageOf(name: ProgramName): string[] {
  const program = programs[name]
  return 'debian' in program ? [program.debian] : []
}

/** What Go needs beside itself to build what is missing; libraries are no programs, so that dpkg is asked. */
async function buildPackages(): Promise<string[]> {
  const needed = [...new Set(goPrograms.flatMap(({ program }) => program.buildNeeds ?? []))]
  // biome-ignore lint/suspicious/noTemplateCurlyInString: a field of dpkg's.
  const format = '--showformat=${db:Status-Status}'
  const states = await Promise.all(needed.map((name) => finish('dpkg-query', ['--show', format, name])))
  return needed.filter((_, index) => states[index]?.stdout !== 'installed')
}

async function installPackages(packages: readonly string[]): Promise<void> {
  if (packages.length === 0) return
  // Recommended packages would bring firewalls, login sessions and other things that change the machine.
  const install = ['install', '--yes', '--no-install-recommends', ...packages]
  if (process.getuid?.() !== 0) throw new Error(`to be run by root: apt-get ${install.join(' ')}`)
  console.log(`apt-get ${install.join(' ')}`)
  const options = { timeoutMs: hour, environment: { ...environment, DEBIAN_FRONTEND: 'noninteractive' } }
  await run('apt-get', ['update'], options)
  await withoutServices(() => run('apt-get', install, options))
}

/** Debian starts what it installs: a Docker daemon, a registry. The tests start their own, and stop them. */
async function withoutServices(install: () => Promise<unknown>): Promise<void> {
  const policy = '/usr/sbin/policy-rc.d'
  try {
    await writeFile(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755, flag: 'wx' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    await install()
    return
  }
  try {
    await install()
  } finally {
    await rm(policy)
  }
}

/** Builds into a folder beside the final one, so that what is interrupted is not taken for built. */
async function buildProgram(name: ProgramName, program: GoProgram): Promise<void> {
  console.log(`go install ${program.go}`)
  const folder = goFolder(name, program)
  await mkdir(dirname(folder), { recursive: true })
  const building = await mkdtemp(`${folder}-`)
  try {
    const tags = program.tags === undefined ? [] : ['-tags', program.tags.join(',')]
    const go = (parameters: readonly string[], workingDirectory = '/') =>
      run('go', parameters, {
        workingDirectory,
        timeoutMs: hour,
        environment: { ...environment, GOFLAGS: '-buildvcs=false', GOTOOLCHAIN: 'local', GOBIN: building },
      })
    if (program.tests) {
      const { Dir: sources } = JSON.parse(await go(['mod', 'download', '-json', program.go]))
      await go(['test', '-c', ...tags, '-o', join(building, goBinary(program)), '.'], sources)
    } else if (program.module !== undefined) {
      const [path = '', version] = program.go.split('@')
      const { Dir: sources } = JSON.parse(
        await go(['mod', 'download', '-json', `${program.module}@${version}`]),
      )
      await go(['build', ...tags, '-o', `${building}/`, path], sources)
    } else {
      await go(['install', ...tags, program.go])
    }
    await rm(folder, { recursive: true, force: true })
    await rename(building, folder)
  } finally {
    await rm(building, { recursive: true, force: true })
  }
}
