import { isAlias, isMap, isScalar, isSeq, LineCounter, type Pair, parseDocument, type YAMLMap } from 'yaml'
import type { ConfigProblem } from './problems.ts'
import { dotted, type ValuePath } from './value-tree.ts'

/** The values of a configuration file, and where each of them stands. */
export interface YamlFile {
  readonly value: unknown
  readonly problems: readonly ConfigProblem[]
  /**
   * `mirror.yml:12:3`: the key at a path, or its value; where the path is not in the file, the nearest that is.
   */
  where(path: ValuePath, what: 'key' | 'value'): string
  /** Whether the value at a path comes from this file. */
  has(path: ValuePath): boolean
}

/** More nodes than any configuration has: aliases of aliases would grow without end. */
const mostNodes = 20_000
const deepest = 50

/**
 * Reads YAML 1.2 with merge keys. Never throws for what the text says: syntax errors, duplicate keys, unknown tags
 * and aliases are among the problems. `name` is how the file is called in them.
 */
export function readYaml(text: string, name: string): YamlFile {
  const lineCounter = new LineCounter()
  const document = parseDocument(text, { lineCounter, merge: true, prettyErrors: false })
  const problems: ConfigProblem[] = []
  // Offsets in characters, by path.
  const places = new Map<string, { key: number; value: number }>()
  let nodes = 0

  function at(offset: number): string {
    const { line, col } = lineCounter.linePos(offset)
    return `${name}:${Math.max(line, 1)}:${Math.max(col, 1)}`
  }

  function report(offset: number, message: string): undefined {
    problems.push({ where: at(offset), severity: 'error', message })
  }

  /** Whether one more node would be too much, which is told once. */
  function isTooMuch(offset: number, depth: number): boolean {
    if (++nodes <= mostNodes && depth <= deepest) return false
    if (nodes <= mostNodes + 1) report(offset, 'too many or too deeply nested values')
    nodes = mostNodes + 1
    return true
  }

  function read(node: unknown, path: ValuePath, depth: number, key?: number): unknown {
    const offset = offsetOf(node) ?? key ?? 0
    places.set(JSON.stringify(path), { key: key ?? offset, value: offset })
    if (isTooMuch(offset, depth)) return undefined
    if (isScalar(node)) return node.value
    if (isSeq(node)) return node.items.map((item, index) => read(item, [...path, index], depth + 1))
    if (isMap(node)) {
      const pairs = [...pairsOf(node, path, depth)]
      return Object.fromEntries(
        pairs.map(([name, pair]) => [name, read(pair.value, [...path, name], depth + 1, offsetOf(pair.key))]),
      )
    }
    if (!isAlias(node)) return null
    const target = node.resolve(document)
    if (target) return read(target, path, depth + 1, key)
    return report(offset, `unknown alias *${node.source}: its anchor must stand before it`)
  }

  /** The pairs of a map by key. What is merged in comes first, so that its own keys win wherever the "<<" stands. */
  function pairsOf(map: YAMLMap, path: ValuePath, depth: number): Map<string, Pair> {
    const pairs = new Map<string, Pair>()
    for (const { key, value } of map.items.filter(isMerge)) {
      for (const target of (isSeq(value) ? value.items : [value]).toReversed()) {
        const offset = offsetOf(key) ?? 0
        const source = isAlias(target) ? target.resolve(document) : target
        if (!isMap(source)) report(offset, 'expected a map, or a list of maps, after "<<"')
        else if (!isTooMuch(offset, depth)) {
          for (const [name, pair] of pairsOf(source, path, depth + 1)) pairs.set(name, pair)
        }
      }
    }
    for (const pair of map.items) {
      if (isMerge(pair)) continue
      if (isScalar(pair.key)) pairs.set(String(pair.key.value), pair)
      else {
        const where = path.length === 0 ? '' : ` in ${dotted(path)}`
        report(offsetOf(pair.key) ?? 0, `a key${where} must be plain text`)
      }
    }
    return pairs
  }

  for (const { pos, code, message } of [...document.errors, ...document.warnings]) {
    report(pos[0], yamlMessage(code, message, text.slice(pos[0])))
  }
  // After a syntax error the parser guesses; complaints about its guesses would only confuse.
  const isUsable = document.errors.every(({ code }) => code === 'DUPLICATE_KEY')
  const value = isUsable ? read(document.contents, [], 0) : undefined
  if (value !== undefined && value !== null && (typeof value !== 'object' || Array.isArray(value))) {
    report(document.contents?.range?.[0] ?? 0, 'expected settings such as "cache: {maxSize: 50GB}"')
  }
  return {
    value,
    problems,
    where: (path, what) => {
      const prefixes = path.map((_, index) => path.slice(0, path.length - index))
      const nearest = [...prefixes, []].find((prefix) => places.has(JSON.stringify(prefix))) ?? []
      return at(places.get(JSON.stringify(nearest))?.[what] ?? 0)
    },
    has: (path) => places.has(JSON.stringify(path)),
  }
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
