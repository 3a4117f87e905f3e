import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { fileFailure } from './file-failure.ts'
import { withoutFinalNewline } from './text-value.ts'

/** A `${...}` that cannot be replaced. The message names the variable or file, never a value. */
export class InterpolationError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'InterpolationError'
  }
}

const reference = /\$\$\{|\$\{([^}]*)(\}?)/g
const variable = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s

/**
 * Replaces `${VARIABLE}`, `${VARIABLE:-default}` and `${file:/path}` (relative to `directory`; a newline at the end
 * is cut) in a text; `$${` stands for `${` itself. What is put in is not searched again. Throws InterpolationError.
 */
export async function interpolate(
  text: string,
  options: { environment: NodeJS.ProcessEnv; directory: string },
): Promise<string> {
  let result = ''
  let end = 0
  for (const match of text.matchAll(reference)) {
    result += text.slice(end, match.index)
    end = match.index + match[0].length
    result += match[0] === '$${' ? '${' : await replacement(match, options)
  }
  return result + text.slice(end)
}

async function replacement(
  match: RegExpExecArray,
  { environment, directory }: { environment: NodeJS.ProcessEnv; directory: string },
): Promise<string> {
  const [whole, inside = '', closed] = match
  if (closed === '')
    throw new InterpolationError(`"\${" without "}": write $\${ for the characters themselves`)
  if (inside.startsWith('file:')) {
    const file = resolve(directory, inside.slice('file:'.length))
    try {
      return withoutFinalNewline(await readFile(file, 'utf8'))
    } catch (error) {
      throw new InterpolationError(`${whole}: ${fileFailure(error)}`, { cause: error })
    }
  }
  const [, name, fallback] = variable.exec(inside) ?? []
  if (name === undefined) {
    throw new InterpolationError(`${whole} is none of \${NAME}, \${NAME:-default} and \${file:/path}`)
  }
  const value = environment[name]
  if (fallback !== undefined) return value === undefined || value === '' ? fallback : value
  if (value === undefined)
    throw new InterpolationError(`the variable ${name} is not set: set it, or write \${${name}:-default}`)
  return value
}
