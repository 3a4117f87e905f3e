import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { OpenCatalog } from './catalog-fixtures.ts'

/** What the program found out once. */
export function factsContract(open: OpenCatalog): void {
  test('a fact is known from then on, also later, until another one takes its place', async (t) => {
    const { catalog, reopen } = await open(t)
    await catalog.setFact('cache-max-size', 50_000_000_000)
    assert.equal(await catalog.fact('cache-max-size'), 50_000_000_000)
    assert.equal(await catalog.fact('journal-sequence'), undefined)
    await catalog.setFact('cache-max-size', 0)
    assert.equal(await (await reopen()).fact('cache-max-size'), 0)
  })

  test('what is no whole number is no fact', async (t) => {
    const { catalog } = await open(t)
    await assert.rejects(catalog.setFact('cache-max-size', 1.5), TypeError)
    assert.equal(await catalog.fact('cache-max-size'), undefined)
  })
}
