// biome-ignore-all lint/suspicious/noControlCharactersInRegex: a terminal is driven by them
/**
 * The demo, by the very command of the README, in a copy in which nothing has been built. Neighbours: a terminal and
 * a pipe, NO_COLOR, TERM=dumb, a terminal that is too narrow and one that is too low; help; mistyped, impossible and
 * mismatched options; Ctrl-C once, and once more by npm; a reader that leaves; a configuration of the machine's own.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { cp, mkdir, open, readdir, readFile, symlink } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { createDisplay, type View } from '../../benchmarks/demo/display.ts'
import { createPaint } from '../../benchmarks/demo/paint.ts'
import { showSeconds, showSize } from '../../benchmarks/support/units.ts'
import { scratchFolder } from '../e2e/support/scratch-folder.ts'
import { finish, startInBackground } from '../support/child-process.ts'
import { meets } from '../support/programs.ts'
import { until } from '../support/settle.ts'

const project = resolve(import.meta.dirname, '../..')
const small = ['--size', '2MB', '--machines', '2', '--rate', '20Mbit/s', '--round-trip', '20']

/** As a clone is after `npm ci`: no dist/. */
async function copyTo(folder: string): Promise<void> {
  await mkdir(folder)
  for (const name of ['package.json', 'tsconfig.json', 'src', 'benchmarks', 'test']) {
    await cp(join(project, name), join(folder, name), { recursive: true })
  }
  await symlink(join(project, 'node_modules'), join(folder, 'node_modules'))
}

test('npm run demo on a clone: three acts, and it ends with a sentence for each', {
  timeout: 90_000,
}, async (t) => {
  if (!meets(t, { programs: ['npm'] })) return
  await using scratch = await scratchFolder()
  const folder = join(scratch.path, 'clone')
  await copyTo(folder)
  const environment = { HOME: scratch.path, TMPDIR: scratch.path }
  const options = { environment, workingDirectory: folder }
  const { code, stdout, stderr } = await finish('npm', ['run', 'demo', '--', ...small], options)
  assert.deepEqual([code, stderr], [0, ''])
  assert.match(stdout, /^All together about \d+ s\./m)
  assert.match(stdout, /^1 of 3: 2 machines pull the same image of 2 MB at once \(about 2 s\)$/m)
  const headline =
    /^2 machines pulled 2 MB each: without Larder (\S+) MB crossed the line, and it took \S+ s; with Larder (\S+) MB and \S+ s\. Once more, now that it is here: 0 MB and \S+ m?s\.$/m
  const [, without, cold] = headline.exec(stdout) ?? assert.fail(stdout)
  assert.equal(Math.round(Number(without)), 4)
  assert.equal(Math.round(Number(cold)), 2)
  const [, share] =
    /^The line was cut for 3 s .* none of the 2 machines saw more than a pause.* and (\S+)x of the image/m.exec(
      stdout,
    ) ?? assert.fail(stdout)
  // What was on its way when the line was cut comes again, and headers count.
  assert.ok(Number(share) < 1.2, share)
  assert.match(
    stdout,
    /^The registry was gone: .* came to all 2 in \S+ m?s, and .* refused in .*\(503: docker\.io: /m,
  )
  assert.doesNotMatch(stdout, /\| --|\u001b/)
  assert.deepEqual(
    (await readdir(scratch.path)).filter((name) => name.startsWith('larder-bench')),
    [],
  )
})

test('Ctrl-C, which npm repeats: it says so, ends with 130, and leaves nothing behind', {
  timeout: 60_000,
}, async () => {
  await using scratch = await scratchFolder()
  await using log = await open(join(scratch.path, 'output'), 'w+')
  const demo = startInBackground('node', [join(project, 'benchmarks/demo.ts'), ...small], {
    environment: { TMPDIR: scratch.path },
    output: log.fd,
  })
  const output = () => readFile(join(scratch.path, 'output'), 'utf8')
  const exited = once(demo, 'exit')
  await until(async () => /\d %/.test(await output()), { timeoutMs: 30_000 })
  demo.kill('SIGINT')
  demo.kill('SIGINT')
  assert.deepEqual(await exited, [130, null])
  assert.match(await output(), /\nStopped: the mirror has ended and its folder is removed\.\n$/)
  assert.deepEqual(await readdir(scratch.path), ['output'])
})

test('help is 0, and a wrong option is 2 and says where help is', { timeout: 60_000 }, async () => {
  const demo = (...parameters: string[]) =>
    finish('node', [join(project, 'benchmarks/demo.ts'), ...parameters])
  const help = await demo('--help')
  assert.deepEqual([help.code, help.stderr], [0, ''])
  assert.match(help.stdout, /--machines/)
  for (const [parameters, message] of [
    [['--sise', '5MB'], /Unknown option '--sise'/],
    [['5MB'], /Unexpected argument '5MB'/],
    [['--machines', '0'], /--machines: expected a number from 1 to 64; got 0/],
    [['--rate', '1Gbit/s', '--size', '1MB'], /--size: over a line as fast as that/],
  ] as const) {
    const { code, stdout, stderr } = await demo(...parameters)
    assert.match(stderr, message)
    assert.match(stderr, /npm run demo -- --help/)
    assert.deepEqual([code, stdout], [2, ''])
  }
})

function view(machines: number): View {
  const progresses = Array.from({ length: machines }, () => ({ bytes: 500_000, totalMs: undefined }))
  const lanes = ['without Larder', 'with Larder'].map((name) => ({ name, progresses, lineBytes: 1_000_000 }))
  return { lanes, total: 1_000_000, note: '' }
}

function shown(output: object, environment: NodeJS.ProcessEnv, machines = 3): string {
  let text = ''
  const write = (chunk: string) => {
    text += chunk
    return true
  }
  const terminal = { isTTY: true, columns: 80, rows: 24, write, ...output } as NodeJS.WriteStream
  const display = createDisplay(terminal, environment, createPaint(terminal, environment))
  display.begin()
  display.show(view(machines))
  display.show(view(machines))
  return text
}

test('on a terminal it rewrites its block, within the width and the height that there are', () => {
  for (const columns of [72, 80, 200]) {
    const lines = shown({ columns }, { NO_COLOR: '1' })
      .replaceAll(/\u001b\[\d*[A-Z]/g, '')
      .split('\n')
    assert.ok(
      lines.every((line) => line.length < columns),
      `${columns}: ${lines.join('\n')}`,
    )
  }
  const text = shown({ rows: 20 }, { NO_COLOR: '1' }, 40)
  assert.match(text, /and 28 more/)
  assert.ok(Number(/\u001b\[(\d+)A/.exec(text)?.[1]) < 20)
})

test('NO_COLOR takes the colors; TERM=dumb, a pipe and a narrow terminal take the rewriting', () => {
  assert.match(shown({}, {}), /\u001b\[36m/)
  assert.doesNotMatch(shown({}, { NO_COLOR: '1' }), /\u001b\[\d+m/)
  for (const [output, environment] of [
    [{}, { TERM: 'dumb' }],
    [{ isTTY: false }, {}],
    [{ isTTY: undefined, columns: undefined }, {}],
    [{ columns: 60 }, {}],
  ] as const) {
    const text = shown(output, environment)
    assert.doesNotMatch(text, /\u001b/)
    assert.match(text, /^ {3}50 % {2}without Larder: 0\.5 MB each, 1 MB over the line; with Larder: .*\n$/)
  }
})

test('times and sizes are written as people say them', () => {
  assert.deepEqual([0.2, 99, 100, 9940, 9960, 59_499, 59_600, 161_000].map(showSeconds), [
    ...['1 ms', '99 ms', '0.1 s', '9.9 s', '10 s', '59 s', '1 min 0 s', '2 min 41 s'],
  ])
  assert.deepEqual([0, 49_000, 300_000, 9_960_000, 50e6, 1.2e9].map(showSize), [
    ...['0 MB', '0 MB', '0.3 MB', '10 MB', '50 MB', '1,200 MB'],
  ])
})
