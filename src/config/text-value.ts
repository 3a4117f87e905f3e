import { parseDocument } from 'yaml'
import type { Setting } from './settings.ts'

/**
 * The value of a setting from text that came from the environment, a secret's file or a `${VARIABLE}`. YAML, so that
 * lists and numbers work; but text that YAML would change stays as it is where the setting wants text, and a secret
 * is never touched. Empty text is null, "not set". `setting` undefined stands for a whole list or section.
 */
export function textValue(text: string, setting: Setting | undefined): unknown {
  const kind = setting?.type.text ?? 'yaml'
  if (kind === 'verbatim') return text
  const trimmed = text.trim()
  const value = yamlValue(trimmed)
  // "[::1]:5000" is an address and no YAML. What is neither is named by the schema, which sees the text itself.
  if (value === undefined) return trimmed
  const changed = value === null ? trimmed !== '' : typeof value === 'number' || typeof value === 'boolean'
  return kind === 'text' && changed ? trimmed : value
}

/** Cuts the one newline that editors and `echo` leave at the end of a file with a secret. */
export function withoutFinalNewline(text: string): string {
  return text.replace(/\r?\n$/, '')
}

function yamlValue(text: string): unknown {
  const document = parseDocument(text, { prettyErrors: false })
  if (document.errors.length > 0 || document.warnings.length > 0) return undefined
  try {
    return document.toJS()
  } catch (error) {
    // An alias without an anchor, or aliases of aliases without end.
    if (error instanceof ReferenceError) return undefined
    throw error
  }
}
