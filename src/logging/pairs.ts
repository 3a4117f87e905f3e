import { escapeText } from './escape.ts'

/** ` key=value other="two words"`, on one line; keys of objects within are joined by dots. */
export function formatPairs(fields: Readonly<Record<string, unknown>>): string {
  let text = ''
  for (const [key, value] of flatten(fields, '')) text += ` ${pairKey(key)}=${pairValue(value)}`
  return text
}

function* flatten(value: unknown, path: string): Generator<[string, unknown]> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    yield [path, value]
    return
  }
  for (const [key, below] of Object.entries(value))
    yield* flatten(below, path === '' ? key : `${path}.${key}`)
}

function pairKey(key: string): string {
  return escapeText(key).replaceAll(/[\s="\\]/g, '_')
}

function pairValue(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  if (/^[\w.,:;/@%+*()[\]{}<>!?&#|~^$-]+$/.test(text)) return text
  return `"${escapeText(text.replaceAll(/["\\]/g, '\\$&'))}"`
}
