import { escapeText } from './escape.ts'

/** ` key=value other="two words"`, on one line; keys of objects within are joined by dots. */
export function formatPairs(fields: Readonly<Record<string, unknown>>): string {
  let text = ''
  for (const key of Object.keys(fields)) text += formatPair(key, fields[key])
  return text
}

/** One of them, or those of an object. */
export function formatPair(key: string, value: unknown): string {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return ` ${pairKey(key)}=${pairValue(value)}`
  return Object.entries(value)
    .map(([below, item]) => formatPair(`${key}.${below}`, item))
    .join('')
}

const plainKey = /^[\w.]*$/
const plainValue = /^[\w.,:;/@%+*()[\]{}<>!?&#|~^$-]+$/

function pairKey(key: string): string {
  return plainKey.test(key) ? key : escapeText(key).replaceAll(/[\s="\\]/g, '_')
}

function pairValue(value: unknown): string {
  if (typeof value === 'number') return String(value)
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return plainValue.test(text) ? text : `"${escapeText(text.replaceAll(/["\\]/g, '\\$&'))}"`
}
