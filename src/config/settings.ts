import type * as z from 'zod'
import { configSchema } from './schema.ts'
import { type SettingType, settingTypes } from './setting-types.ts'
import type { ValuePath } from './value-tree.ts'

/** One leaf of the configuration. */
export interface Setting {
  /** `*` stands for an index of a list. */
  readonly path: readonly string[]
  readonly description: string
  /** The default in the form of the file; undefined where the setting is off or derived when absent. */
  readonly default: unknown
  readonly type: SettingType
}

/** Every setting, in the order of the schema. */
export const settings: readonly Setting[] = leavesOf(configSchema, [])

/** The setting at a path such as `upstreams.0.url`; undefined for sections and unknown paths. */
export function settingAt(path: ValuePath): Setting | undefined {
  return settings.find(
    (setting) =>
      setting.path.length === path.length &&
      setting.path.every(
        (part, index) => part === path[index] || (part === '*' && typeof path[index] === 'number'),
      ),
  )
}

/** The keys that may stand in the section at a path; empty for a leaf or an unknown path. */
export function keysAt(path: ValuePath): readonly string[] {
  const below = settings.filter(
    (setting) =>
      setting.path.length > path.length &&
      path.every((part, index) => part === setting.path[index] || setting.path[index] === '*'),
  )
  return [...new Set(below.map((setting) => setting.path[path.length] ?? ''))]
}

function leavesOf(schema: z.core.$ZodType, path: readonly string[]): Setting[] {
  const type = settingTypes.get(schema as z.ZodType)
  const definition = (schema as z.core.$ZodTypes)._zod.def
  if (type) {
    const description = (schema as z.ZodType).description ?? ''
    const own = definition.type === 'prefault' ? definition.defaultValue : undefined
    return [{ path, description, default: own, type }]
  }
  switch (definition.type) {
    case 'object':
      return Object.entries(definition.shape).flatMap(([key, below]) => leavesOf(below, [...path, key]))
    case 'array':
      return leavesOf(definition.element, [...path, '*'])
    case 'prefault':
    case 'optional':
      return leavesOf(definition.innerType, path)
    case 'pipe':
      return leavesOf(definition.in, path)
    default:
      throw new TypeError(`${path.join('.')} is neither a section nor a setting`)
  }
}
