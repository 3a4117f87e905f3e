/** Whoever runs Larder with the Node of the system is told so, by a Node that cannot load the rest. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { test } from 'node:test'
import { neededNode, tooOld } from '../../src/cli/node-version.ts'
import { finish } from '../support/child-process.ts'

const project = resolve(import.meta.dirname, '../..')
const entry = resolve(project, 'src/main.ts')

test('a Node is too old below the version that package.json asks for', () => {
  const { engines } = JSON.parse(readFileSync(resolve(project, 'package.json'), 'utf8'))
  assert.equal(engines.node, `>=${neededNode}`)
  for (const version of ['v12.22.12', 'v20.20.2', 'v22.99.99', 'v24.9.0', 'v24.14.0']) {
    assert.match(
      tooOld(version) ?? '',
      new RegExp(`larder: needs Node 24\\.14\\.1 or newer, and this is ${version}\n.*bin.* first in PATH`),
    )
  }
  for (const version of ['v24.14.1', 'v24.14.2', 'v24.15.0', 'v25.0.0', 'v25.0.0-nightly', process.version]) {
    assert.equal(tooOld(version), undefined, version)
  }
})

test('an old Node is told so before it loads anything else, with exit code 2', async () => {
  const lie = `data:text/javascript,Object.defineProperty(process,'version',{value:'v20.20.2'})`
  const told = await finish('node', ['--import', lie, entry, '--version'])
  assert.deepEqual([told.code, told.stdout, told.stderr], [2, '', tooOld('v20.20.2')])
  const imports = readFileSync(entry, 'utf8').matchAll(/^import\b[^(]*?'(.*)'$/gm)
  assert.deepEqual(
    [...imports].map(([, name]) => name),
    ['./cli/node-version.ts'],
  )
})
