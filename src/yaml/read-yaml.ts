import { isAlias, isMap, isScalar, isSeq, LineCounter, type Pair, parseDocument, type YAMLMap } from 'yaml'
import { dotted, type ValuePath } from './value-tree.ts'

/** A value of a YAML file, and where it stands. */
export interface YamlValue {
  readonly path: ValuePath
  /** Of a map or list it is empty: what is in it comes next. */
  readonly value: unknown
  /** `mirror.yml:12:3`, line and column from 1: of its key, where it has one. */
  readonly where: string
  /** The same of the value itself. */
  readonly at: string
}

/** Something that is wrong with a YAML file. */
interface YamlProblem {
  readonly where: string
  readonly message: string
}

/** What a YAML file holds, and what is wrong with it. */
export interface YamlFile {
  readonly values: readonly YamlValue[]
  readonly problems: readonly YamlProblem[]
}

/** More nodes than any configuration has: aliases of aliases would grow without end. */
const mostNodes = 10_000
const deepest = 50

/**
 * Reads YAML 1.2 with merge keys: the values of a file, each map and list before what is in it; where one occurs twice,
 * the last one counts. Never throws for what the text says: syntax errors, duplicate keys, unknown tags and aliases are
 * among the problems. `name` is how the file is called in them.
 */
export function readYaml(text: string, name: string): YamlFile {
  // What is decoded as UTF-8 and is none: UTF-16, as editors of Windows write it, has both.
  if (/[\0\uFFFD]/.test(text)) {
    const message = 'this file is not in UTF-8: save it again with that encoding'
    return { values: [], problems: [{ where: `${name}:1:1`, message }] }
  }
  const lineCounter = new LineCounter()
  const document = parseDocument(text, { lineCounter, merge: true, prettyErrors: false })
  const problems: YamlProblem[] = []
  const values: YamlValue[] = []
  let nodes = 0

  function at(offset: number): string {
    const { line, col } = lineCounter.linePos(offset)
    return `${name}:${Math.max(line, 1)}:${Math.max(col, 1)}`
  }

  function report(offset: number, message: string): void {
    problems.push({ where: at(offset), message })
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
    const target = isAlias(node) ? node.resolve(document) : undefined
    if (target) {
      read(target, path, depth + 1, key)
      return
    }
    if (isAlias(node)) report(offset, `unknown alias *${node.source}: its anchor must stand before it`)
    const value = isSeq(node) ? [] : isMap(node) ? {} : isScalar(node) ? node.value : null
    values.push({ path, value, where: at(key ?? offset), at: at(offset) })
    if (isSeq(node)) for (const [index, item] of node.items.entries()) read(item, [...path, index], depth + 1)
    if (isMap(node)) readPairs(node, path, depth)
  }

  /** What is merged in is read first, the last map first, and without the keys that are `taken` by who merges it in. */
  function readPairs({ items }: YAMLMap, path: ValuePath, depth: number, taken?: ReadonlySet<string>): void {
    const own = items.flatMap(({ key }) => (isScalar(key) ? String(key.value) : []))
    const takenBelow = new Set([...(taken ?? []), ...own])
    for (const { key, value } of items.filter(isMerge)) {
      const offset = offsetOf(key) ?? 0
      for (const target of (isSeq(value) ? value.items : [value]).toReversed()) {
        const source = isAlias(target) ? target.resolve(document) : target
        if (!isMap(source)) report(offset, 'expected a map, or a list of maps, after "<<"')
        else if (!isTooMuch(offset, depth)) readPairs(source, path, depth + 1, takenBelow)
      }
    }
    for (const { key, value } of items.filter((pair) => !isMerge(pair))) {
      const offset = offsetOf(key)
      if (isScalar(key) && taken?.has(String(key.value))) continue
      if (isScalar(key)) read(value, [...path, String(key.value)], depth + 1, offset)
      else report(offset ?? 0, `a key${path.length === 0 ? '' : ` in ${dotted(path)}`} must be plain text`)
    }
  }

  const syntaxErrors = document.errors.filter(({ code }) => code !== 'DUPLICATE_KEY')
  // After a syntax error the parser guesses; complaints about its guesses would only confuse.
  const guesses = syntaxErrors.slice(1)
  for (const { pos, code, message } of [...document.errors, ...document.warnings]) {
    if (guesses.some((guess) => guess.pos === pos)) continue
    report(pos[0], yamlMessage(code, message, text, pos[0]))
  }
  const isUsable = syntaxErrors.length === 0
  if (isUsable) read(document.contents, [], 0)
  return { values, problems }
}

/** The value of a text of YAML; undefined where it is none. */
export function yamlValue(text: string): unknown {
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

/** Blank lines, comments and the mark of a document go before. */
const indentedFirstKey = /^(?:[ \t]*(?:#.*)?\n|---[ \t]*\n)* +[^\s#]/

function isMerge(pair: Pair): boolean {
  if (!isScalar(pair.key)) return false
  const { value, type } = pair.key
  return typeof value === 'symbol' || (value === '<<' && (type === undefined || type === 'PLAIN'))
}

function offsetOf(node: unknown): number | undefined {
  return (node as { range?: [number, number, number] | null } | null)?.range?.[0]
}

function yamlMessage(code: string, message: string, text: string, offset: number): string {
  const source = text.slice(offset)
  if (code === 'DUPLICATE_KEY') {
    const key = /^["']?([^"'\s:]{1,60})/.exec(source)?.[1]
    return key === undefined ? 'this key occurs twice' : `the key "${key}" occurs twice`
  }
  if (code === 'TAB_AS_INDENT') return 'a tab indents this line: use spaces'
  if (code === 'MULTIPLE_DOCS') return 'a second document begins here ("---"): one file holds one'
  if (/^All \w+ items must start|^Sequence item without/.test(message)) {
    return 'this line does not begin in the column of those that it belongs to'
  }
  if (code === 'UNEXPECTED_TOKEN' && indentedFirstKey.test(text)) {
    return 'this line begins further left than the first key: begin all keys of the top in the first column'
  }
  const hint = /^:\d+/.test(source) ? ': write an address in brackets in quotes, "[::1]:5000"' : ''
  return `YAML: ${message.split('\n')[0]}${hint}`
}
