import { refuse } from '../units/unit-error.ts'

/** A pattern of repositories: `*` is one part of a name, `**` one or more. Throws UnitError. */
export function checkPattern(pattern: string): string {
  const part = /^(?:\*\*|[a-z0-9*]+(?:[._-]+[a-z0-9*]+)*)$/
  const isPattern = pattern.length <= 255 && pattern.split('/').every((piece) => part.test(piece))
  return isPattern ? pattern : refuse('a pattern such as "*" or "local/**"', pattern)
}

/**
 * Tells whether a name fits one of some patterns, such as `*` and `local/**`: `*` stands for whatever a part of a name
 * can be, or some of it, and `**` for one part or more.
 */
export function matcherOf(patterns: readonly string[]): (name: string) => boolean {
  const expressions = patterns.map((pattern) => new RegExp(`^${pattern.split('/').map(ofPart).join('/')}$`))
  return (name) => expressions.some((expression) => expression.test(name))
}

/** Whether a pattern is about names that somebody has set aside: it begins with more than wildcards. */
export function isSetAside(pattern: string): boolean {
  return pattern.includes('/') && /[^*]/.test(pattern.split('/', 1)[0] ?? '')
}

function ofPart(part: string): string {
  if (part === '**') return '.+'
  return part.replaceAll(/[^a-z0-9*]/gi, '\\$&').replaceAll(/\*+/g, '[^/]*')
}
