import assert from 'node:assert/strict'
import { accessSync, constants, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import type { TestContext } from 'node:test'

/** A program of a Debian package. */
export type DebianProgram = {
  readonly debian: string
  /** Where it is, for those that are not looked for in PATH. */
  readonly path?: string
  /** A newer one than Debian's, in a folder of its own. */
  readonly version?: string
  /** It does nothing but start another program: `by` of `RunOptions`. */
  readonly starts?: true
  /** Only `npm run test:clients` needs it. */
  readonly lane?: 'clients'
}

/** A program that `go install` builds, each into a folder of its own outside the checkout. */
export type GoProgram = {
  /** The package and its exact version; the last part of its path is the name of the program. */
  readonly go: string
  readonly tags?: readonly string[]
  /** What is built is the test program of the package (`go test -c`). */
  readonly tests?: boolean
  /** Debian packages that it is built with. */
  readonly buildNeeds?: readonly string[]
  /** Its module, where `go install` refuses it (it excludes versions of others, say): it is built inside of it. */
  readonly module?: string
  readonly lane?: 'clients'
}

/**
 * Every program beside Node that tests and benchmarks start, and what brings it. Nothing else can be started
 * (child-process.ts), and `npm run test:programs` installs what is missing: so that what runs on one machine runs
 * on a new one. The key is the program's name, except where two versions have the same one.
 */
export const programs = {
  'apt-get': { debian: 'apt' },
  buildah: { debian: 'buildah' },
  buildctl: {
    go: 'github.com/moby/buildkit/cmd/buildctl@v0.34.2',
    module: 'github.com/moby/buildkit',
    lane: 'clients',
  },
  buildkitd: {
    go: 'github.com/moby/buildkit/cmd/buildkitd@v0.34.2',
    module: 'github.com/moby/buildkit',
    lane: 'clients',
  },
  busybox: { debian: 'busybox-static', path: '/bin/busybox' },
  chmod: { debian: 'coreutils' },
  conformance: {
    go: 'github.com/opencontainers/distribution-spec/conformance@v0.0.0-20260831232431-97274622c111',
  },
  'conformance-ginkgo': {
    go: 'github.com/opencontainers/distribution-spec/conformance@v0.0.0-20231101194043-f2182352d4cc',
    tests: true,
  },
  containerd: { debian: 'containerd' },
  'containerd-2.4': { go: 'github.com/containerd/containerd/v2/cmd/containerd@v2.4.2', lane: 'clients' },
  'containerd-shim-runc-v2': {
    go: 'github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2@v2.4.2',
    lane: 'clients',
  },
  cp: { debian: 'coreutils' },
  crane: { go: 'github.com/google/go-containerregistry/cmd/crane@v0.22.1' },
  crictl: { go: 'sigs.k8s.io/cri-tools/cmd/crictl@v1.37.0', lane: 'clients' },
  ctr: { debian: 'containerd' },
  'ctr-2.4': { go: 'github.com/containerd/containerd/v2/cmd/ctr@v2.4.2', lane: 'clients' },
  debootstrap: { debian: 'debootstrap', lane: 'clients' },
  docker: { debian: 'docker.io' },
  'docker-registry': { debian: 'docker-registry' },
  dockerd: { debian: 'docker.io' },
  'dockerd-29': { go: 'github.com/moby/moby/v2/cmd/dockerd@v2.0.0-beta.24', lane: 'clients' },
  'dpkg-query': { debian: 'dpkg' },
  // Only to install the rest. Debian's is too old, and fetches this version.
  go: { debian: 'golang-go', version: '1.26.8' },
  helm: { go: 'helm.sh/helm/v4/cmd/helm@v4.3.1' },
  htpasswd: { debian: 'apache2-utils' },
  ip: { debian: 'iproute2' },
  iptables: { debian: 'iptables' },
  mkfifo: { debian: 'coreutils' },
  'mkfs.btrfs': { debian: 'btrfs-progs' },
  'mkfs.ext4': { debian: 'e2fsprogs' },
  'mkfs.xfs': { debian: 'xfsprogs' },
  mount: { debian: 'mount' },
  nginx: { debian: 'nginx-light' },
  npm: { debian: 'npm' },
  nsenter: { debian: 'util-linux', starts: true },
  olareg: { go: 'github.com/olareg/olareg/cmd/olareg@v0.1.2', module: 'github.com/olareg/olareg' },
  openssl: { debian: 'openssl' },
  oras: { go: 'oras.land/oras/cmd/oras@v1.3.6' },
  podman: { debian: 'podman' },
  regctl: { go: 'github.com/regclient/regclient/cmd/regctl@v0.11.7' },
  runc: { debian: 'runc' },
  script: { debian: 'bsdutils' },
  setpriv: { debian: 'util-linux', starts: true },
  sh: { debian: 'dash', starts: true },
  skopeo: { debian: 'skopeo' },
  sleep: { debian: 'coreutils' },
  prlimit: { debian: 'util-linux', starts: true },
  strace: { debian: 'strace', starts: true },
  'systemd-analyze': { debian: 'systemd' },
  tar: { debian: 'tar' },
  true: { debian: 'coreutils' },
  truncate: { debian: 'coreutils' },
  umount: { debian: 'mount' },
  unshare: { debian: 'util-linux', starts: true },
  // Only benchmarks start it, which do without it where it is missing.
  wrk: { debian: 'wrk' },
} as const satisfies Readonly<Record<string, DebianProgram | GoProgram>>

/** A program of the table. */
export type ProgramName = keyof typeof programs

/** A program that only starts another one. */
export type Launcher = {
  [Name in ProgramName]: (typeof programs)[Name] extends { starts: true } ? Name : never
}[ProgramName]

/** Where programs are looked for: some of Debian's lie in folders that only root has in its PATH. */
export const programPath = [process.env.PATH, '/usr/local/sbin', '/usr/sbin', '/sbin'].join(delimiter)

/** What a test needs of the machine. */
export type Requirements = {
  readonly programs: readonly ProgramName[]
  /** Root with all that belongs to it: to mount, and to run containers. */
  readonly root?: boolean
}

/**
 * Tells whether a test can run here. Where it cannot, the test is skipped with a reason that names what to
 * install; under CI that is a failure, since a test that is always skipped proves nothing.
 */
export function meets(t: TestContext, requirements: Requirements): boolean {
  const reason = whatIsMissing(requirements)
  if (reason === undefined) return true
  if (process.env.CI) assert.fail(reason)
  t.skip(reason)
  return false
}

/**
 * As `meets`, for all tests of a file: the reason to skip them, or false. Under CI they are never skipped, and fail
 * by what is missing.
 */
export function reasonToSkip(requirements: Requirements): string | false {
  return process.env.CI ? false : (whatIsMissing(requirements) ?? false)
}

function whatIsMissing({ programs: names, root = false }: Requirements): string | undefined {
  const missing = names.filter((name) => pathOf(name) === undefined).map(describe)
  if (root && !mayMount()) missing.push('root with CAP_SYS_ADMIN')
  return missing.length === 0 ? undefined : `needs ${missing.join(', ')}`
}

/** The program and what brings it, for whoever misses it. Throws where it is not in the table. */
export function describe(name: string): string {
  const program = entryOf(name)
  const source = 'debian' in program ? `Debian package ${program.debian}` : `go install ${program.go}`
  return `${name} (${source}; "npm run test:programs" installs it)`
}

/** Where a program of the table is; undefined where it is not installed. Throws where it is not in the table. */
export function pathOf(name: string): string | undefined {
  const program = entryOf(name)
  const path = placesOf(name, program).find(isExecutable)
  return path !== undefined && (name !== 'busybox' || isStatic(readFileSync(path))) ? path : undefined
}

function placesOf(name: string, program: DebianProgram | GoProgram): string[] {
  if ('go' in program) return [join(goFolder(name, program), goBinary(program))]
  if (program.path !== undefined) return [program.path]
  const inPath = programPath.split(delimiter).map((folder) => join(folder, name))
  return name === 'go' ? [join(cachedGo(), 'bin', name), ...inPath] : inPath
}

/** The folder of the Go that was fetched because the machine's is too old. */
export function cachedGo(): string {
  return join(cacheFolder(), `go@${programs.go.version}`)
}

function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'larder-test-programs')
}

/**
 * The folder that a Go program is built into: its name tells what was built, so that another version is another
 * folder. It lies outside the checkout, which may be cloned anew for each run.
 */
export function goFolder(name: string, { go, tags = [] }: GoProgram): string {
  const version = go.slice(go.lastIndexOf('@'))
  return join(cacheFolder(), [name + version, ...tags].join('+'))
}

/** The name that Go gives to what it builds from a package: the last part of the path that is no major version. */
export function goBinary({ go, tests = false }: GoProgram): string {
  const parts = go.slice(0, go.lastIndexOf('@')).split('/')
  const name = parts.findLast((part) => !/^v\d+$/.test(part)) ?? ''
  return tests ? `${name}.test` : name
}

/** Folders to put first in a PATH, so that programs which start others find those of the table. */
export function foldersOf(names: readonly ProgramName[]): string[] {
  return names.map((name) => dirname(pathOf(name) ?? assert.fail(`needs ${describe(name)}`)))
}

function entryOf(name: string): DebianProgram | GoProgram {
  if (Object.hasOwn(programs, name)) return programs[name as ProgramName]
  throw new Error(
    `${name} is not in the table of programs (test/support/programs.ts). Add it there with the package that ` +
      'brings it, so that a new machine gets it too; Node itself is called "node"',
  )
}

/** Root may mount, but not in most containers. */
function mayMount(): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false
  const status = readFileSync('/proc/self/status', 'utf8')
  const sysAdmin = 21n
  return ((BigInt(`0x${/^CapEff:\s+(\w+)$/m.exec(status)?.[1] ?? 0}`) >> sysAdmin) & 1n) === 1n
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Whether a 64-bit ELF file asks for no interpreter (PT_INTERP): the package `busybox` has one that does. */
function isStatic(elf: Buffer): boolean {
  const [table, entrySize, count] = [
    Number(elf.readBigUInt64LE(0x20)),
    elf.readUInt16LE(0x36),
    elf.readUInt16LE(0x38),
  ]
  const types = Array.from({ length: count }, (_, index) => elf.readUInt32LE(table + index * entrySize))
  return !types.includes(3)
}
