// Installs the programs of the table that this machine misses, by apt-get and "go install": "npm run test:programs".
// With "-- --lane clients" also those that only "npm run test:clients" needs. It can be run again and again.
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { finish, run } from './child-process.ts'
import {
  cachedGo,
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
if (goPrograms.length > 0) {
  await renewGo()
  for (const { name, program } of goPrograms) await buildProgram(name, program)
}
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
  // A new machine may be at its first updates.
  const wait = ['--option', 'DPkg::Lock::Timeout=600']
  if (process.getuid?.() !== 0) throw new Error(`to be run by root: apt-get ${install.join(' ')}`)
  console.log(`apt-get ${install.join(' ')}`)
  const options = { timeoutMs: hour, environment: { ...environment, DEBIAN_FRONTEND: 'noninteractive' } }
  await run('apt-get', [...wait, 'update'], options)
  await withoutServices(() => run('apt-get', [...wait, ...install], options))
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

/** Runs Go in a folder, with what it builds going to another one; returns what it prints. */
function go(
  parameters: readonly string[],
  options: { bin?: string; workingDirectory?: string } = {},
): Promise<string> {
  const { bin, workingDirectory = '/' } = options
  const settings = {
    GOFLAGS: '-buildvcs=false',
    GOTOOLCHAIN: 'local',
    ...(bin !== undefined && { GOBIN: bin }),
  }
  return run('go', parameters, {
    workingDirectory,
    timeoutMs: hour,
    environment: { ...environment, ...settings },
  })
}

/**
 * Where the machine's Go is too old, as Debian's is, it fetches a newer one as it fetches modules, checked against
 * the same database of sums. (Since 1.21 it does so by itself; Debian 12 has 1.19.)
 */
async function renewGo(): Promise<void> {
  const [, minor = 0] = /go version go1\.(\d+)/.exec(await go(['version'])) ?? []
  if (Number(minor) >= Number(programs.go.version.split('.')[1])) return
  const architecture = process.arch === 'x64' ? 'amd64' : process.arch
  const toolchain = `golang.org/toolchain@v0.0.1-go${programs.go.version}.linux-${architecture}`
  console.log(`go mod download ${toolchain}`)
  const { Dir: module } = JSON.parse(await go(['mod', 'download', '-json', toolchain]))
  await installFolder(cachedGo(), async (building) => {
    await run('cp', ['--recursive', '--no-preserve=mode', `${module}/.`, building])
    // Nothing in a module may be executed.
    await run('chmod', ['--recursive', '+x', join(building, 'bin'), join(building, 'pkg', 'tool')])
  })
}

async function buildProgram(name: ProgramName, program: GoProgram): Promise<void> {
  console.log(`go install ${program.go}`)
  const tags = program.tags === undefined ? [] : ['-tags', program.tags.join(',')]
  await installFolder(goFolder(name, program), async (bin) => {
    if (program.tests) {
      const { Dir: workingDirectory } = JSON.parse(await go(['mod', 'download', '-json', program.go]))
      await go(['test', '-c', ...tags, '-o', join(bin, goBinary(program)), '.'], { workingDirectory })
    } else if (program.module !== undefined) {
      const [path = '', version] = program.go.split('@')
      const sources = await go(['mod', 'download', '-json', `${program.module}@${version}`])
      await go(['build', ...tags, '-o', `${bin}/`, path], { workingDirectory: JSON.parse(sources).Dir })
    } else {
      await go(['install', ...tags, program.go], { bin })
    }
  })
}

/** Fills a folder beside the final one, so that what is interrupted is not taken for whole. */
async function installFolder(folder: string, fill: (building: string) => Promise<void>): Promise<void> {
  await mkdir(dirname(folder), { recursive: true })
  const building = await mkdtemp(`${folder}-`)
  try {
    await fill(building)
    await rm(folder, { recursive: true, force: true })
    await rename(building, folder)
  } finally {
    await rm(building, { recursive: true, force: true })
  }
}
