import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileFailure } from '../units/file-failure.ts'
import { UnitError } from '../units/unit-error.ts'
import { yamlValue } from '../yaml/read-yaml.ts'
import type { Setting } from './settings.ts'

/**
 * The value of a setting from text that came from the environment, a secret's file or a `${VARIABLE}`. YAML, so that
 * lists and numbers work; but text that YAML would change stays as it is where the setting wants text, and a secret
 * is never touched. Empty text is null, "not set". `setting` undefined stands for a whole list or section.
 */
export function textValue(text: string, setting: Setting | undefined): unknown {
  const kind = setting?.type.text
  if (kind === 'verbatim') return text
  const trimmed = text.trim()
  const value = yamlValue(trimmed)
  // "[::1]:5000" is an address and no YAML. What is neither is named by the checks, which see the text itself.
  if (value === undefined) return trimmed
  const isChanged = value === null ? trimmed !== '' : typeof value === 'number' || typeof value === 'boolean'
  return kind === 'text' && isChanged ? trimmed : value
}

/** Cuts the one newline that editors and `echo` leave at the end of a file with a secret. */
export function withoutFinalNewline(text: string): string {
  return text.replace(/\r?\n$/, '')
}

/**
 * Replaces `${VARIABLE}`, `${VARIABLE:-default}` and `${file:/path}` (relative to `directory`; a newline at the end
 * is cut) in a text; `$${` stands for `${` itself. What is put in is not searched again. Throws UnitError, which
 * names the variable or file, never a value.
 */
export function interpolate(text: string, environment: NodeJS.ProcessEnv, directory: string): string {
  return text.replaceAll(/\$\$\{|\$\{([^}]*)(\}?)/g, (whole, inside: string, closed: string) => {
    if (whole === '$${') return '${'
    if (closed === '') throw new UnitError(`"\${" without "}": write $\${ for the characters themselves`)
    if (inside.startsWith('file:')) return fileText(resolve(directory, inside.slice('file:'.length)), whole)
    const [, name, fallback] = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s.exec(inside) ?? []
    if (name === undefined) {
      throw new UnitError(`${whole} is none of \${NAME}, \${NAME:-default} and \${file:/path}`)
    }
    const value = environment[name]
    if (fallback !== undefined) return value || fallback
    if (value !== undefined) return value
    throw new UnitError(`the variable ${name} is not set: set it, or write \${${name}:-default}`)
  })
}

function fileText(path: string, reference: string): string {
  try {
    return withoutFinalNewline(readFileSync(path, 'utf8'))
  } catch (error) {
    throw new UnitError(`${reference}: ${fileFailure(error)}`, { cause: error })
  }
}
