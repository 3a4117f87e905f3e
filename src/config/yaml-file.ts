import { isAlias, isMap, isScalar, isSeq, LineCounter, type Pair, parseDocument, type YAMLMap } from 'yaml'
import type { Given } from './given.ts'
import type { ConfigProblem } from './problems.ts'
import { dotted, type ValuePath } from './value-tree.ts'

/** More nodes than any configuration has: aliases of aliases would grow without end. */
const mostNodes = 5000
const deepest = 50

/**
 * Reads YAML 1.2 with merge keys: the values of a configuration file, each map and list before what is in it. Never
 * throws for what the text says: syntax errors, duplicate keys, unknown tags and aliases are among the problems.
 * `name` is how the file is called in them.
 */
export function readYaml(text: string, name: string): { given: Given[]; problems: ConfigProblem[] } {
  const lineCounter = new LineCounter()
  const document = parseDocument(text, { lineCounter, merge: true, prettyErrors: false })
  const problems: ConfigProblem[] = []
  const given: Given[] = []
  let nodes = 0

  function at(offset: number): string {
    const { line, col } = lineCounter.linePos(offset)
    return `${name}:${Math.max(line, 1)}:${Math.max(col, 1)}`
  }

  function report(offset: number, message: string): void {
    problems.push({ where: at(offset), severity: 'error', message })
  }

  /** Whether one more node would be too much, which is told once. */
  function isTooMuch(offset: number, depth: number): boolean {
    if (++nodes <= mostNodes && depth <= deepest) return false
    if (nodes <= mostNodes + 1) report(offset, 'too many or too deeply nested values')
    nodes = mostNodes + 1
    return true
  }

  function read(node: unknown, path: ValuePath, depth: number, key?: number): void {
    const offset = offsetOf(node) ?? key ?? 0
    if (isTooMuch(offset, depth)) return
    if (isAlias(node)) {
      const target = node.resolve(document)
      if (target) read(target, path, depth + 1, key)
      else report(offset, `unknown alias *${node.source}: its anchor must stand before it`)
      return
    }
    const value = isSeq(node) ? [] : isMap(node) ? {} : isScalar(node) ? node.value : null
    given.push({ path, value, origin: { source: 'file', where: at(key ?? offset) }, at: at(offset) })
    if (isSeq(node)) for (const [index, item] of node.items.entries()) read(item, [...path, index], depth + 1)
    if (isMap(node)) readPairs(node, path, depth)
  }

  /** What is merged in is read first, the last map first, so that the own keys win wherever the "<<" stands. */
  function readPairs({ items }: YAMLMap, path: ValuePath, depth: number): void {
    for (const { key, value } of items.filter(isMerge)) {
      const offset = offsetOf(key) ?? 0
      for (const target of (isSeq(value) ? value.items : [value]).toReversed()) {
        const source = isAlias(target) ? target.resolve(document) : target
        if (!isMap(source)) report(offset, 'expected a map, or a list of maps, after "<<"')
        else if (!isTooMuch(offset, depth)) readPairs(source, path, depth + 1)
      }
    }
    for (const { key, value } of items.filter((pair) => !isMerge(pair))) {
      const offset = offsetOf(key)
      if (isScalar(key)) read(value, [...path, String(key.value)], depth + 1, offset)
      else report(offset ?? 0, `a key${path.length === 0 ? '' : ` in ${dotted(path)}`} must be plain text`)
    }
  }

  for (const { pos, code, message } of [...document.errors, ...document.warnings]) {
    report(pos[0], yamlMessage(code, message, text.slice(pos[0])))
  }
  // After a syntax error the parser guesses; complaints about its guesses would only confuse.
  const isUsable = document.errors.every(({ code }) => code === 'DUPLICATE_KEY')
  if (isUsable) read(document.contents, [], 0)
  const isMapOrNothing = isMap(document.contents) || (given[0]?.value ?? null) === null
  if (!isMapOrNothing)
    report(offsetOf(document.contents) ?? 0, 'expected settings such as "cache: {maxSize: 50GB}"')
  return { given: isMapOrNothing ? given.slice(1) : [], problems }
}

function isMerge(pair: Pair): boolean {
  if (!isScalar(pair.key)) return false
  const { value, type } = pair.key
  return typeof value === 'symbol' || (value === '<<' && (type === undefined || type === 'PLAIN'))
}

function offsetOf(node: unknown): number | undefined {
  return (node as { range?: [number, number, number] | null } | null)?.range?.[0]
}

function yamlMessage(code: string, message: string, source: string): string {
  if (code === 'DUPLICATE_KEY') {
    const key = /^["']?([^"'\s:]{1,60})/.exec(source)?.[1]
    return key === undefined ? 'this key occurs twice' : `the key "${key}" occurs twice`
  }
  if (code === 'TAB_AS_INDENT') return 'a tab indents this line: use spaces'
  if (code === 'MULTIPLE_DOCS') return 'a second document begins here ("---"): one file holds one'
  const hint = /^:\d+/.test(source) ? ': write an address in brackets in quotes, "[::1]:5000"' : ''
  return `YAML: ${message.split('\n')[0]}${hint}`
}
