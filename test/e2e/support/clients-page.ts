import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'

const page = resolve(import.meta.dirname, '../../../docs/clients.md')

/** A fenced block: its language, the file that it is to be written into, and which of several it is. */
const block = /^```(?:json|toml|yaml) (?<file>\/\S+)(?: (?<variant>\S+))?\n(?<content>.*?)^```$/gms

/**
 * What docs/clients.md tells to write into a file, for a mirror at `mirror` (`host:port`): clients are started with
 * that, so that the page says what works. Throws where the page has no such block.
 */
export function fileOfPage(file: string, mirror: string, variant?: string): Readonly<Record<string, string>> {
  const found = blocks().find((each) => each.file === file && each.variant === variant)
  assert.ok(found, `docs/clients.md has a block for ${file}${variant ? ` (${variant})` : ''}`)
  return { [file]: found.content.replaceAll('MIRROR', mirror) }
}

/** The blocks of the page that are files, in order. */
export function blocks(): readonly { file: string; variant: string | undefined; content: string }[] {
  return Array.from(readFileSync(page, 'utf8').matchAll(block), ({ groups }) => ({
    file: groups?.file ?? '',
    variant: groups?.variant,
    content: groups?.content ?? '',
  }))
}
