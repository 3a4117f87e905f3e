/** `npm start` and `npm run larder` run what is built from the sources as they are, in a small project of its own. */
import assert from 'node:assert/strict'
import { cp, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { type TestContext, test } from 'node:test'
import { neededNode, tooOld } from '../../src/cli/node-version.ts'
import { type Finished, finish } from '../support/child-process.ts'
import { meets } from '../support/programs.ts'
import { scratchFolder } from './support/scratch-folder.ts'

const project = resolve(import.meta.dirname, '../..')
const main = `import { word } from './word.ts'\nprocess.stdout.write([word, ...process.argv.slice(2)].join(' '))\n`

/** The scripts and the settings of this project, with two sources only. */
async function smallProject(parent: string) {
  const folder = join(parent, 'project')
  await mkdir(join(folder, 'src'), { recursive: true })
  for (const name of ['package.json', 'tsconfig.json', 'tsconfig.build.json', 'tools'])
    await cp(join(project, name), join(folder, name), { recursive: true })
  await symlink(join(project, 'node_modules'), join(folder, 'node_modules'))
  const put = (name: string, text: string) => writeFile(join(folder, name), text)
  await put('src/main.ts', main)
  await put('src/word.ts', "export const word = 'first'\n")
  const settings = { environment: { HOME: parent }, workingDirectory: folder }
  const npm = (...parameters: string[]): Promise<Finished> =>
    finish('npm', [...parameters.slice(0, 1), '--silent', ...parameters.slice(1)], settings)
  return { folder, put, npm }
}

function isReady(t: TestContext): boolean {
  return meets(t, { programs: ['npm'] })
}

test('npm start builds what is missing or of other sources, and nothing a second time', async (t) => {
  if (!isReady(t)) return
  await using scratch = await scratchFolder()
  const { folder, put, npm } = await smallProject(scratch.path)
  const builtAt = async () => (await stat(join(folder, 'dist/main.js'))).ctimeMs

  const first = await npm('start')
  assert.equal(first.stdout, 'first serve')
  assert.match(first.stderr, /^building dist\//)
  const at = await builtAt()
  assert.deepEqual(await npm('run', 'larder', '--', 'version'), {
    code: 0,
    stdout: 'first version',
    stderr: '',
  })
  assert.equal(await builtAt(), at)

  await put('src/word.ts', "export { word } from './another.ts'\n")
  await put('src/another.ts', "export const word = 'second'\n")
  assert.equal((await npm('start')).stdout, 'second serve')
  await put('src/word.ts', "export const word = 'third'\n")
  await rm(join(folder, 'src/another.ts'))
  assert.equal((await npm('start')).stdout, 'third serve')
  const left = await readdir(join(folder, 'dist'))
  assert.deepEqual(left.sort(), ['.built-from', 'main.js', 'main.js.map', 'word.js', 'word.js.map'])
  const { sources } = JSON.parse(await readFile(join(folder, 'dist/word.js.map'), 'utf8'))
  assert.deepEqual(sources, ['../src/word.ts'])
})

test('sources that are wrong: npm start says where, starts nothing, and leaves what was built', async (t) => {
  if (!isReady(t)) return
  await using scratch = await scratchFolder()
  const { folder, put, npm } = await smallProject(scratch.path)
  await npm('start')
  await put('src/word.ts', 'export const word: number = "second"\n')
  const { code, stdout, stderr } = await npm('start')
  assert.deepEqual([code, stdout], [1, ''])
  assert.match(stderr, /src\/word\.ts\(1,14\): error TS.*\ndist\/ could not be built: .* above/)
  assert.match(await readFile(join(folder, 'dist/word.js'), 'utf8'), /first/)
  assert.deepEqual(
    (await readdir(folder)).filter((name) => name.startsWith('dist')),
    ['dist'],
  )
})

test('two starts at once: both build, and both run', async (t) => {
  if (!isReady(t)) return
  await using scratch = await scratchFolder()
  const { npm } = await smallProject(scratch.path)
  const both = await Promise.all([npm('start'), npm('start')])
  assert.deepEqual(
    both.map(({ code, stdout }) => [code, stdout]),
    [
      [0, 'first serve'],
      [0, 'first serve'],
    ],
  )
})

test('a package that was installed has neither sources nor a compiler: npm start runs what is there', async (t) => {
  if (!isReady(t)) return
  await using scratch = await scratchFolder()
  const { folder, npm } = await smallProject(scratch.path)
  await npm('run', 'build')
  for (const name of ['src', 'tools', 'node_modules']) await rm(join(folder, name), { recursive: true })
  const { code, stdout } = await npm('start')
  assert.deepEqual([code, stdout], [0, 'first serve'])
})

test('sources without the compiler: it says what to do', async (t) => {
  if (!isReady(t)) return
  await using scratch = await scratchFolder()
  const { folder, npm } = await smallProject(scratch.path)
  await rm(join(folder, 'node_modules'))
  const { code, stdout, stderr } = await npm('start')
  assert.deepEqual([code, stdout], [1, ''])
  assert.match(
    stderr,
    /dist\/ could not be built: the compiler is not installed\. .*"npm ci --include=dev" installs these\n$/,
  )
})

test('a Node that is too old, built or not: it says so as the program itself does, with exit code 2', async (t) => {
  if (!isReady(t)) return
  await using scratch = await scratchFolder()
  const { folder, put, npm } = await smallProject(scratch.path)
  await npm('run', 'build')
  for (const version of ['v20.20.2', 'v24.9.0', 'v24.14.0', 'v24.14.1', 'v25.0.0-nightly']) {
    await put('old.cjs', `Object.defineProperty(process, 'version', { value: '${version}' })\n`)
    const needsNode = ['-r', './old.cjs', '-r', './tools/needs-node.cjs', '--eval', '']
    const told = await finish('node', needsNode, { workingDirectory: folder })
    const [sentence] = tooOld(version)?.split('\n') ?? []
    assert.deepEqual([told.code, told.stderr.split('\n')[0]], sentence ? [2, sentence] : [0, ''], version)
  }
  // No TypeScript either: what is said is said before any is loaded.
  await put('old.cjs', "Object.defineProperty(process, 'version', { value: 'v20.20.2' })\n")
  const environment = { HOME: scratch.path, NODE_OPTIONS: '--no-experimental-strip-types' }
  const scripts = ['start', 'larder', 'build'] as const
  const { scripts: commands } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))
  for (const name of scripts) {
    commands[name] = commands[name].replaceAll('node -r', 'node -r ./old.cjs -r')
  }
  await put(
    'package.json',
    JSON.stringify({ engines: { node: `>=${neededNode}` }, type: 'module', scripts: commands }),
  )
  for (const name of scripts) {
    const told = await finish('npm', ['run', '--silent', name], { environment, workingDirectory: folder })
    assert.deepEqual([told.code, told.stdout], [2, ''], name)
    assert.match(told.stderr, /^larder: needs Node .*\n.*"npm ci --include=dev" installs\n$/)
  }
})
