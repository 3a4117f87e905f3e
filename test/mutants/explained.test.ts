import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { explained } from './explained.ts'
import { lineOf, mutantsOf } from './mutations.ts'

test('what is explained is still a mutant of the source', () => {
  for (const { file, line, becomes } of explained) {
    const source = readFileSync(file, 'utf8')
    const isThere = mutantsOf(source).some((mutant) => {
      const found = lineOf(source, mutant)
      return found.line === line && found.becomes === becomes
    })
    assert.ok(isThere, `${file}: ${line} -> ${becomes}`)
  }
})
