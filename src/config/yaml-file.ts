import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Pair,
  parseDocument,
  type YAMLMap,
} from 'yaml'
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
  const lines = new LineCounter()
  const document = parseDocument(text, {
    lineCounter: lines,
    merge: true,
    prettyErrors: false,
  })
  const problems: ConfigProblem[] = []
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset)
    return `${name}:${Math.max(line, 1)}:${Math.max(col, 1)}`
  }
  const report = (offset: number, message: string) => {
    problems.push({ where: at(offset), severity: 'error', message })
  }
  for (const error of [...document.errors, ...document.warnings]) {
    report(error.pos[0], yamlMessage(error.code, error.message, text.slice(error.pos[0])))
  }
  const reader = new NodeReader(document, report)
  // After a syntax error the parser guesses; complaints about its guesses would only confuse.
  const usable = document.errors.every(({ code }) => code === 'DUPLICATE_KEY')
  const value = usable ? reader.read(document.contents, [], 0) : undefined
  if (value !== undefined && value !== null && (typeof value !== 'object' || Array.isArray(value))) {
    report(document.contents?.range?.[0] ?? 0, 'expected settings such as "cache: {maxSize: 50GB}"')
  }
  return {
    value,
    problems,
    where: (path, what) => at(reader.offsetOf(path, what)),
    has: (path) => reader.has(path),
  }
}

class NodeReader {
  readonly #document: Document
  readonly #report: (offset: number, message: string) => void
  /** Offsets in characters, by path. */
  readonly #offsets = new Map<string, { key: number; value: number }>()
  #nodes = 0

  constructor(document: Document, report: (offset: number, message: string) => void) {
    this.#document = document
    this.#report = report
  }

  has(path: ValuePath): boolean {
    return this.#offsets.has(JSON.stringify(path))
  }

  offsetOf(path: ValuePath, what: 'key' | 'value'): number {
    for (let length = path.length; length >= 0; length--) {
      const found = this.#offsets.get(JSON.stringify(path.slice(0, length)))
      if (found) return found[what]
    }
    return 0
  }

  read(node: unknown, path: ValuePath, depth: number, keyOffset?: number): unknown {
    const offset = offsetOfNode(node) ?? keyOffset ?? 0
    this.#offsets.set(JSON.stringify(path), { key: keyOffset ?? offset, value: offset })
    this.#nodes++
    if (this.#nodes > mostNodes || depth > deepest) {
      if (this.#nodes <= mostNodes + 1) this.#report(offset, 'too many or too deeply nested values')
      this.#nodes = mostNodes + 1
      return undefined
    }
    if (isAlias(node)) return this.#readAlias(node, path, depth, keyOffset)
    if (isScalar(node)) return node.value
    if (isSeq(node)) return node.items.map((item, index) => this.read(item, [...path, index], depth + 1))
    if (isMap(node)) return Object.fromEntries(this.#entries(node, path, depth))
    return null
  }

  #readAlias(alias: Alias, path: ValuePath, depth: number, keyOffset: number | undefined): unknown {
    const target = alias.resolve(this.#document)
    if (target) return this.read(target, path, depth + 1, keyOffset)
    this.#report(offsetOfNode(alias) ?? 0, `unknown alias *${alias.source}: its anchor must stand before it`)
    return undefined
  }

  #entries(map: YAMLMap, path: ValuePath, depth: number): Map<string, unknown> {
    const entries = new Map<string, unknown>()
    // What is merged in comes first, so that the map's own keys win wherever the "<<" stands.
    for (const pair of map.items.filter(isMerge)) {
      const targets = isSeq(pair.value) ? pair.value.items : [pair.value]
      for (const target of targets.toReversed()) {
        const source = isAlias(target) ? target.resolve(this.#document) : target
        if (isMap(source) && depth < deepest) {
          for (const [key, value] of this.#entries(source, path, depth + 1)) entries.set(key, value)
        } else this.#report(offsetOfNode(pair.key) ?? 0, 'expected a map, or a list of maps, after "<<"')
      }
    }
    for (const pair of map.items) {
      if (isMerge(pair)) continue
      const offset = offsetOfNode(pair.key) ?? 0
      if (!isScalar(pair.key)) {
        this.#report(offset, `a key${path.length === 0 ? '' : ` in ${dotted(path)}`} must be plain text`)
        continue
      }
      const key = String(pair.key.value)
      entries.set(key, this.read(pair.value, [...path, key], depth + 1, offset))
    }
    return entries
  }
}

function isMerge(pair: Pair): boolean {
  if (!isScalar(pair.key)) return false
  const { value, type } = pair.key
  return typeof value === 'symbol' || (value === '<<' && (type === undefined || type === 'PLAIN'))
}

function offsetOfNode(node: unknown): number | undefined {
  return (node as { range?: [number, number, number] | null } | null)?.range?.[0]
}

function yamlMessage(code: string, message: string, source: string): string {
  if (code === 'DUPLICATE_KEY') {
    const key = /^["']?([^"'\s:]{1,60})/.exec(source)?.[1]
    return key === undefined ? 'this key occurs twice' : `the key "${key}" occurs twice`
  }
  if (code === 'TAB_AS_INDENT') return 'a tab indents this line: use spaces'
  if (code === 'MULTIPLE_DOCS') return 'a second document begins here ("---"): one file holds one'
  const [first = message] = message.split('\n')
  const hint = /^:\d+/.test(source) ? ': write an address in brackets in quotes, "[::1]:5000"' : ''
  return `YAML: ${first}${hint}`
}
