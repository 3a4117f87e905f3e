import { parseSync, Visitor } from 'oxc-parser'

/** One change of one place of a source file, which a test should notice. */
export interface Mutant {
  /** Offsets of UTF-16 units, the end not included. */
  readonly start: number
  readonly end: number
  readonly becomes: string
}

interface Span {
  readonly start: number
  readonly end: number
}

const otherOperators: Readonly<Record<string, string>> = {
  '<': '<=',
  '<=': '<',
  '>': '>=',
  '>=': '>',
  '===': '!==',
  '!==': '===',
  '+': '-',
  '-': '+',
  '*': '/',
  '/': '*',
  '&&': '||',
  '||': '&&',
  '+=': '-=',
  '-=': '+=',
}

const logging = /\blog(?:ger)?\b/

/**
 * The mutants of a TypeScript source, in their order: conditions that always or never hold, other operators, one side of
 * `??`, statements that are left out (not those that log), no `await`, no signal, no property, other values of `true`,
 * `false`, 0 and 1. Types have none.
 */
export function mutantsOf(source: string): Mutant[] {
  const found: Mutant[] = []
  const types: Span[] = []
  const add = ({ start, end }: Span, becomes: string): void => void found.push({ start, end, becomes })
  const text = ({ start, end }: Span): string => source.slice(start, end)
  const condition = (test: Span): void => {
    add(test, 'true')
    add(test, 'false')
  }
  const operator = ({ left, right, operator: sign }: { left: Span; right: Span; operator: string }): void => {
    const other = otherOperators[sign]
    if (other === undefined) return
    const start = source.indexOf(sign, left.end)
    if (start >= 0 && start < right.start) add({ start, end: start + sign.length }, other)
  }
  const isType = (span: Span): void => void types.push(span)
  new Visitor({
    IfStatement: ({ test }) => condition(test),
    ConditionalExpression: ({ test }) => condition(test),
    WhileStatement: ({ test }) => add(test, 'false'),
    BinaryExpression: operator,
    AssignmentExpression: operator,
    LogicalExpression(node) {
      if (node.operator !== '??') return operator(node)
      add(node, text(node.left))
      add(node, text(node.right))
    },
    UnaryExpression(node) {
      if (node.operator === '!') add(node, text(node.argument))
    },
    AwaitExpression: (node) => add(node, text(node.argument)),
    ExpressionStatement(node) {
      const what = text(node.expression)
      if (!logging.test(what) && !/^(super\(|this\.name = )/.test(what)) add(node, ';')
    },
    ReturnStatement(node) {
      if (!node.argument) add(node, ';')
    },
    BreakStatement: (node) => add(node, ';'),
    ContinueStatement: (node) => add(node, ';'),
    ThrowStatement: (node) => add(node, ';'),
    Literal(node) {
      const { value } = node
      if (typeof value === 'boolean') add(node, String(!value))
      if (value === 0 || value === 1) add(node, String(1 - value))
    },
    CallExpression(node) {
      if (logging.test(text(node.callee))) return
      for (const argument of node.arguments) {
        if (/signal$/i.test(text(argument))) add(argument, 'undefined')
        if (argument.type === 'ObjectExpression') {
          for (const property of argument.properties) withoutProperty(property)
        }
      }
    },
    TSTypeAnnotation: isType,
    TSInterfaceDeclaration: isType,
    TSTypeAliasDeclaration: isType,
    TSTypeParameterInstantiation: isType,
    TSTypeParameterDeclaration: isType,
    TSAsExpression: ({ typeAnnotation }) => isType(typeAnnotation),
    TSSatisfiesExpression: ({ typeAnnotation }) => isType(typeAnnotation),
  }).visit(parseSync('source.ts', source).program)

  function withoutProperty(property: Span): void {
    const comma = /^\s*,/.exec(source.slice(property.end))?.[0].length ?? 0
    add({ start: property.start, end: property.end + comma }, '')
  }

  return found
    .filter(({ start, end }) => !types.some((type) => type.start <= start && end <= type.end))
    .sort((one, other) => one.start - other.start || one.end - other.end)
}

/** The source with a mutant in it. */
export function mutate(source: string, { start, end, becomes }: Mutant): string {
  return source.slice(0, start) + becomes + source.slice(end)
}

/** The line with a mutant in it, from 1, as it is and what becomes of it, both trimmed. */
export function lineOf(source: string, mutant: Mutant) {
  const { number: lineNumber, text: line } = lineAt(source, mutant.start)
  return { lineNumber, line, becomes: lineAt(mutate(source, mutant), mutant.start).text }
}

function lineAt(source: string, offset: number): { readonly number: number; readonly text: string } {
  const begin = source.lastIndexOf('\n', offset - 1) + 1
  const end = source.indexOf('\n', offset)
  return {
    number: source.slice(0, begin).split('\n').length,
    text: source.slice(begin, end < 0 ? undefined : end).trim(),
  }
}
