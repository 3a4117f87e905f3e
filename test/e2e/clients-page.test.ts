import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { blocks } from './support/clients-page.ts'

test('each block of docs/clients.md that is a file is tried by a test', () => {
  const folder = import.meta.dirname
  const sources = readdirSync(folder)
    .filter((name) => /\.(?:test|clients)\.ts$/.test(name) && name !== 'clients-page.test.ts')
    .map((name) => readFileSync(join(folder, name), 'utf8'))
  const untried = blocks().filter(
    ({ file, variant }) =>
      !sources.some(
        (source) =>
          source.includes(`'${file}'`) && (variant === undefined || source.includes(`'${variant}'`)),
      ),
  )
  assert.ok(blocks().length >= 10)
  assert.deepEqual(untried, [])
})
