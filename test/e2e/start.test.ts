/**
 * Starts that fail, each with its exit code and what to do. Neighbours: words that are no command, first and after
 * options, near a command and far, the name of a file; options mistyped, and empty; data folders that are a file, lie
 * in one, on a full disk, on a read-only one, where no folder can be made, of another user; ports that are taken,
 * below 1024, of no card; names without an address; sockets without a folder, in the way of a file, taken.
 */
import assert from 'node:assert/strict'
import { chown, mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { larder as larderCommand } from '../../src/cli/larder.ts'
import { smallDisk, smallDiskNeeds } from '../storage/files/small-disk.ts'
import { type Finished, finish, type RunOptions } from '../support/child-process.ts'
import { meets } from '../support/programs.ts'
import { larder, sourceEntry, startLarder } from './support/larder-process.ts'
import { scratchFolder } from './support/scratch-folder.ts'

const slow = { timeout: 120_000 }
const anyPort = ['--listen', '127.0.0.1:0']

test('a word that is no command is called that, with the command that was meant', slow, async () => {
  const words: [string[], RegExp][] = [
    [['serv'], /unknown command 'serv'\n\(Did you mean serve\?\)/],
    [
      ['chek', '--strict'],
      /unknown command 'chek': the commands are serve, config, rebuild, verify, version/,
    ],
    [['confg', 'check'], /unknown command 'confg'\n\(Did you mean config\?\)/],
    [['bogus'], /unknown command 'bogus': the commands are/],
    [[''], /unknown command ''/],
    [['mirror.yml'], /unknown command 'mirror\.yml': a configuration is named by --config mirror\.yml/],
    [['--data', 'x', 'serv'], /unexpected argument 'serv'\n\(Did you mean serve\?\)/],
    [['serve', '/etc/mirror.yml'], /unexpected argument '.*': a configuration is named by --config \/etc/],
    [['--lisen', ':5000'], /unknown option '--lisen'\n\(Did you mean --listen\?\)/],
    [['config', 'chek'], /unknown command 'chek'\n\(Did you mean check\?\)/],
  ]
  for (const [parameters, message] of words) {
    const { code, stdout, stderr } = await inProcess(parameters)
    assert.match(stderr, message)
    assert.deepEqual([code, stdout], [2, ''], parameters.join(' '))
  }
  const { code, stdout, stderr } = await larder(['serv'])
  assert.deepEqual([code, stdout, stderr], [2, '', "error: unknown command 'serv'\n(Did you mean serve?)\n"])
})

test(
  'an empty value of an option is refused, and nothing is written into the working folder',
  slow,
  async () => {
    await using scratch = await scratchFolder()
    const empty: [string[], RegExp][] = [
      [['--data', ''], /command line +error +storage\.dir: expected the path of a folder; got ""/],
      [['--data', ' '], /storage\.dir: expected the path of a folder; got " "/],
      [['--listen', ''], /server\.listen: expected an address such as/],
      [['--config', ''], /--config: expected the path of a file; got nothing/],
      [['--config='], /--config: expected the path of a file; got nothing/],
      [['config', 'check', '--config', ' '], /--config: expected the path of a file; got nothing/],
    ]
    for (const [parameters, message] of empty) {
      const { code, stdout, stderr } = await inProcess(parameters, {}, scratch.path)
      assert.match(stdout + stderr, message)
      assert.equal(code, 3)
    }
    assert.deepEqual(await readdir(scratch.path), [])
  },
)

test('variables that are empty, as compose passes them on, set nothing', slow, async () => {
  await using scratch = await scratchFolder()
  const environment = { MIRROR_STORAGE_DIR: '', MIRROR_SERVER_LISTEN: '127.0.0.1:0', MIRROR_CONFIG: '' }
  const { stdout, code } = await inProcess(['config', 'show'], environment, scratch.path)
  assert.match(stdout, /dir: \/.+\/data # default/)
  assert.equal(code, 0)
})

test('a data folder that cannot be one: what is wrong with it, exit code 8', slow, async () => {
  await using scratch = await scratchFolder()
  const file = join(scratch.path, 'file')
  await writeFile(file, '')
  const folders = [
    [file, /There is a file and no folder: remove it, or set storage\.dir/],
    [join(file, 'data'), /A part of that path is a file/],
    ['/proc/larder', /No folder can be made there/],
    [`/tmp/${'x'.repeat(300)}`, /too long/],
  ] as const
  for (const [folder, advice] of folders) {
    const { code, stderr } = await larder([...anyPort, '--data', folder])
    assert.match(stderr, advice)
    assert.equal(code, 8, stderr)
  }
})

test('a read-only data folder, and one on a full disk', slow, async (t) => {
  if (!meets(t, smallDiskNeeds)) return
  const readOnly = await smallDisk(t, 'ro,size=1m')
  const refused = await larder([...anyPort, '--data', join(readOnly, 'data')])
  assert.match(refused.stderr, /read-only: mount it for writing, or set storage\.dir/)
  assert.equal(refused.code, 8)
  const full = await smallDisk(t, 'size=64k')
  await writeFile(join(full, 'filler'), Buffer.alloc(65_536)).catch(() => {})
  const noRoom = await larder([...anyPort, '--data', full])
  assert.match(noRoom.stderr, /That disk is full: free some space, or set storage\.dir/)
  assert.equal(noRoom.code, 8, noRoom.stderr)
})

test('a data folder of a user whose quota is used up', slow, async (t) => {
  if (!meets(t, { programs: ['strace'], root: true })) return
  await using scratch = await scratchFolder()
  const inject = 'inject=mkdir,mkdirat:error=EDQUOT'
  const { code, stderr } = await finish(
    'node',
    [sourceEntry, ...anyPort, '--data', join(scratch.path, 'data')],
    {
      by: [['strace', '-f', '-qq', '-o', '/dev/null', '-e', 'trace=mkdir,mkdirat', '-e', inject]],
    },
  )
  assert.match(stderr, /The quota of this user is used up: free some space, or set storage\.dir/)
  assert.equal(code, 8, stderr)
})

const rootNeeds = { programs: ['setpriv', 'unshare'], root: true } as const

test("another user's folder: whose it is, and how to give it away", slow, async (t) => {
  if (!meets(t, rootNeeds)) return
  await using scratch = await scratchFolder()
  await mkdir(join(scratch.path, 'data'))
  await chown(join(scratch.path, 'data'), 65534, 65534)
  const cases = [
    [
      'data',
      /data belongs to user 65534, and this is user 0: give it to this user \(chown 0 \S+data\), or set storage\.dir/,
    ],
    [
      'data/new',
      /give this user a folder \(as root: mkdir -p (\S+data\/new) && chown 0 \1\), or set storage\.dir/,
    ],
    ['data/a/b c', /\(as root: mkdir -p ('\S+data\/a\/b c') && chown 0 \1\), or set storage\.dir/],
  ] as const
  for (const [folder, advice] of cases) {
    const { code, stderr } = await withoutRights([...anyPort, '--data', join(scratch.path, folder)])
    assert.match(stderr, advice)
    assert.doesNotMatch(stderr, /port|chown -R/)
    assert.equal(code, 8)
  }
})

test('a port below 1024: it speaks of ports, and not of folders', slow, async (t) => {
  if (!meets(t, rootNeeds)) return
  await using scratch = await scratchFolder()
  const parameters = ['--listen', '0.0.0.0:80', '--data', join(scratch.path, 'd')]
  // In a network of its own, where the lowest port for everybody is what it is by default.
  const { code, stderr } = await withoutRights(parameters, [['unshare', '--net']])
  assert.match(stderr, /choose a port above 1023/)
  assert.doesNotMatch(stderr, /folder/)
  assert.equal(code, 11)
})

test('a port that is taken: the process that has it is named', slow, async () => {
  await using scratch = await scratchFolder()
  await using mirror = await startLarder()
  const { code, stderr } = await larder(['--listen', mirror.host, '--data', scratch.path])
  assert.match(stderr, /Another program listens there, process \d+ \(\S*node \S*main\.ts\): stop it, or set/)
  assert.equal(code, 11)
})

test('addresses that cannot be listened on: why, and exit code 11', slow, async () => {
  await using scratch = await scratchFolder()
  const file = join(scratch.path, 'file')
  await writeFile(file, 'precious')
  const addresses = [
    ['203.0.113.7:0', /No network card of this machine has that address/],
    ['no-such-host.invalid:0', /That name has no address/],
    [`unix:${scratch.path}/none/l.sock`, /none does not exist: make it first/],
    [`unix:${file}`, /something else than a socket lies at .*\nRemove it if nobody needs it/],
  ] as const
  for (const [address, message] of addresses) {
    const { code, stderr } = await larder(['--listen', address, '--data', join(scratch.path, 'data')])
    assert.match(stderr, message)
    assert.equal(code, 11, stderr)
  }
})

test('two addresses that are one: named before anything is opened', slow, async () => {
  const lists = [
    ['[":5000", "127.0.0.1:5000"]', /:5000 takes 127\.0\.0\.1:5000 with it: keep one/],
    ['["0.0.0.0:5000", "10.0.0.1:5000"]', /keep one/],
    ['["[::1]:5000", ":5000"]', /keep one/],
    ['["unix:/a", "unix:/a"]', /keep one/],
  ] as const
  for (const [listen, message] of lists) {
    const { code, stdout } = await inProcess(['config', 'check'], { MIRROR_SERVER_LISTEN: listen })
    assert.match(stdout, message)
    assert.equal(code, 3)
  }
  for (const listen of [
    '["127.0.0.1:5000", "[::1]:5000"]',
    '[":0", ":0"]',
    '["0.0.0.0:5000", "[::1]:5000"]',
  ]) {
    assert.equal((await inProcess(['config', 'check'], { MIRROR_SERVER_LISTEN: listen })).code, 0, listen)
  }
})

test('help tells where the configuration is looked for', slow, async () => {
  const { stdout } = await inProcess(['--help'])
  for (const place of [
    './mirror.yml',
    '$XDG_CONFIG_HOME/larder/mirror.yml',
    '/etc/larder/mirror.yml',
    'MIRROR_CONFIG',
  ])
    assert.ok(stdout.includes(place), place)
})

/** Runs it in this process: for all that ends before anything is opened. */
async function inProcess(
  parameters: readonly string[],
  environment: NodeJS.ProcessEnv = {},
  workingDirectory = '/nonexistent',
): Promise<Finished> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  const { signal: stop } = new AbortController()
  const streams = { stdout, stderr, environment, workingDirectory, stop }
  const code = await larderCommand({ arguments: parameters, ...streams })
  return { code, stdout: String(stdout.read() ?? ''), stderr: String(stderr.read() ?? '') }
}

/** Runs it as root whom the system refuses what it refuses others. `by` starts that. */
function withoutRights(parameters: readonly string[], by: RunOptions['by'] = []): Promise<Finished> {
  const options = { by: [...by, ['setpriv', '--bounding-set=-all'] as const], timeoutMs: 20_000 }
  return finish('node', [sourceEntry, ...parameters], options)
}
