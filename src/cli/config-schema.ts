import { keysAt, lists, nameOf, settingAt } from '../config/settings.ts'

type JsonSchema = Record<string, unknown>

/**
 * The JSON Schema (draft 7, which editors understand) of `mirror.yml`, with the forms that people write: "5m", not
 * milliseconds.
 */
export function configJsonSchema(): JsonSchema {
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Larder configuration (mirror.yml)',
    ...schemaAt([]),
    patternProperties: { '^x-': { description: 'Free for anchors and notes.' } },
  }
}

/** The text of `mirror.schema.json`: two spaces, and a newline at the end. */
export function configJsonSchemaText(): string {
  return `${JSON.stringify(configJsonSchema(), undefined, 2)}\n`
}

function schemaAt(path: readonly string[]): JsonSchema {
  const setting = settingAt(path)
  if (setting) {
    const { description, default: standard, type } = setting
    return { description, default: standard, ...type.schema, examples: type.examples }
  }
  // A section or list whose lines are all commented out is null.
  const list = lists[nameOf(path)]
  if (list) {
    const minItems = list.empty && 1
    return { default: list.default, type: ['array', 'null'], minItems, items: schemaAt([...path, '*']) }
  }
  const keys = keysAt(path)
  const required = keys.filter((key) => settingAt([...path, key])?.type.required)
  return {
    type: path.at(-1) === '*' ? 'object' : ['object', 'null'],
    properties: Object.fromEntries(keys.map((key) => [key, schemaAt([...path, key])])),
    ...(required.length > 0 && { required }),
    additionalProperties: false,
  }
}
