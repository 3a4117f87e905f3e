import * as z from 'zod'
import { configSchema } from './schema.ts'
import { settingTypes } from './setting-types.ts'

type JsonSchema = Record<string, unknown>

/** Columns of a line; lists that fit stay on one. */
const lineWidth = 110

// `${VARIABLE}` may stand wherever a number or one of a few words may.
const reference = { type: 'string', pattern: '\\$\\{' } as const

/**
 * The JSON Schema (draft 7, which editors understand) of `mirror.yml`, with the forms that people write: "5m", not
 * milliseconds.
 */
export function configJsonSchema(): JsonSchema {
  const { $schema, ...rest } = z.toJSONSchema(configSchema, {
    io: 'input',
    target: 'draft-7',
    override: ({ zodSchema, jsonSchema, path }) => {
      const leaf = zodSchema as unknown as z.ZodType
      const type = settingTypes.get(leaf)
      if (type) describeLeaf(jsonSchema as JsonSchema, type.pattern, leaf.meta()?.examples)
      else describeSection(jsonSchema as JsonSchema, path.at(-1) === 'items')
    },
  }) as JsonSchema
  return {
    $schema,
    title: 'Larder configuration (mirror.yml)',
    ...rest,
    patternProperties: { '^x-': { description: 'Free for anchors and notes.' } },
  }
}

/** The text of `mirror.schema.json`: two spaces, short lists on one line, a newline at the end. */
export function configJsonSchemaText(): string {
  return `${format(configJsonSchema(), '', 0)}\n`
}

function describeLeaf(schema: JsonSchema, pattern: string | undefined, examples: unknown): void {
  if (examples !== undefined) schema.examples = examples
  if (pattern !== undefined) schema.pattern = `${pattern}|\\$\\{`
  if (schema.enum === undefined && schema.type !== 'integer') return
  const plain: JsonSchema = {}
  for (const key of ['type', 'enum', 'minimum', 'maximum']) {
    if (key in schema) plain[key] = schema[key]
    delete schema[key]
  }
  schema.anyOf = [plain, reference]
}

function describeSection(schema: JsonSchema, isItem: boolean): void {
  // A section or list whose lines are all commented out is null.
  if (!isItem && (schema.type === 'object' || schema.type === 'array')) schema.type = [schema.type, 'null']
  // The defaults of the leaves say it better than an empty map.
  if (schema.properties !== undefined) delete schema.default
}

function format(value: unknown, indent: string, column: number): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const deeper = `${indent}  `
  if (Array.isArray(value)) {
    const line = value.every((item) => typeof item !== 'object' || item === null)
      ? `[${value.map((item) => JSON.stringify(item)).join(', ')}]`
      : undefined
    // One more column for the comma behind it.
    if (line !== undefined && column + line.length < lineWidth) return line
    const items = value.map((item) => `${deeper}${format(item, deeper, deeper.length)}`)
    return `[\n${items.join(',\n')}\n${indent}]`
  }
  const entries = Object.entries(value).filter(([, item]) => item !== undefined)
  if (entries.length === 0) return '{}'
  const lines = entries.map(([key, item]) => {
    const start = `${deeper}${JSON.stringify(key)}: `
    return `${start}${format(item, deeper, start.length)}`
  })
  return `{\n${lines.join(',\n')}\n${indent}}`
}
