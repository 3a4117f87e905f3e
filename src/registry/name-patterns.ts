/**
 * Tells whether a name fits one of some patterns, such as `*` and `local/**`: `*` stands for whatever a part of a name
 * can be, or some of it, and `**` for one part or more.
 */
export function matcherOf(patterns: readonly string[]): (name: string) => boolean {
  const expressions = patterns.map((pattern) => new RegExp(`^${pattern.split('/').map(ofPart).join('/')}$`))
  return (name) => expressions.some((expression) => expression.test(name))
}

function ofPart(part: string): string {
  if (part === '**') return '.+'
  return part.replaceAll(/[^a-z0-9*]/gi, '\\$&').replaceAll(/\*+/g, '[^/]*')
}
