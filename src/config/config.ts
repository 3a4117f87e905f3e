import { type PushRule, usualPushRule } from '../access/policy.ts'
import { dockerHub } from '../names/docker-hub.ts'
import { looksLikeRegistry } from '../names/host.ts'
import { clashOf, type ListenAddress } from '../names/listen-address.ts'
import { suggest } from '../units/suggestion.ts'
import { refuse, UnitError } from '../units/unit-error.ts'
import { dotted, isMap, isThere, type ValueMap, type ValuePath, valueAt } from '../yaml/value-tree.ts'
import type { Kind } from './kinds.ts'
import { keysAt, lists, nameOf, type Setting, settingAt, settings, type table } from './settings.ts'

type Head<Name> = Name extends `${infer First}.${string}` ? First : Name
type Below<T, First extends string> = {
  [Name in keyof T as Name extends `${First}.${infer Rest}` ? Rest : never]: T[Name]
}
type Leaf<T> = T extends Kind<infer V> ? V : never
type Value<T, First> = First extends keyof T ? Leaf<T[First]> : Values<Below<T, First & string>>
type Present<T, First> = undefined extends Value<T, First> ? never : First & string
/** Settings by their dotted names, as maps in maps; `*` is a list. What has no value may be missing. */
type Values<T> =
  '*' extends Head<keyof T>
    ? Values<Below<T, '*'>>[]
    : { [First in Head<keyof T> as Present<T, First>]: Value<T, First> } & {
        [First in Head<keyof T> as Exclude<First & string, Present<T, First>>]?: Value<T, First>
      }
type Tree = Values<typeof table>

/** One upstream of a Config: `url` and `realms` (origins) are filled in, without a slash at the end. */
export type UpstreamConfig = Tree['upstreams'][number] & { url: string; realms: readonly string[] }

/**
 * The configuration in force. Durations are milliseconds, and those with a word such as `never` may be Infinity, which
 * no timer takes. Sizes are bytes (`cache.maxSize` may also be `auto` or a share of the disk), rates bytes a second,
 * undefined without a limit. Paths are absolute. `upstreams[].password` holds what `passwordFile` said.
 */
export type Config = Omit<Tree, 'server' | 'upstreams' | 'local'> & {
  /** `push` is filled in. */
  local: Tree['local'] & { push: PushRule }
  server: Omit<Tree['server'], 'tls'> & { tls: { certificate: string; key: string } | undefined }
  upstreams: UpstreamConfig[]
}

/** Told of what is wrong at a path: the value, or the key (which the message then names). */
type Complain = (path: ValuePath, message: string, isKey?: boolean) => void

/**
 * Reads a tree of values by the table, into the form of the code; `absolute` resolves the path of a file. What is
 * wrong is left out, and all else is read nevertheless: the configuration is whole if nothing was complained of.
 * `leaves` are the paths of all settings in it, each entry of a list by its index.
 */
export function readConfig(
  input: unknown,
  absolute: (path: ValuePath, value: string) => string,
  complain: Complain,
): { config: Config; leaves: readonly ValuePath[] } {
  const leaves: ValuePath[] = []

  /** Reads a value that is given; undefined where it is wrong, or could not be had. */
  function attempt<T>(path: ValuePath, value: unknown, read: (value: unknown) => T): T | undefined {
    try {
      if (value instanceof UnitError) throw value
      return read(value)
    } catch (error) {
      if (!(error instanceof UnitError)) throw error
      complain(path, error.message)
      return undefined
    }
  }

  function readSetting({ type }: Setting, path: ValuePath, given: unknown): unknown {
    leaves.push(path)
    const value = given === undefined ? type.default : given
    if (value === undefined && !type.required) return undefined
    const parsed = attempt(path, value, type.parse)
    if (type.path && typeof parsed === 'string') return absolute(path, parsed)
    const { item } = type
    if (!item || !Array.isArray(value) || !Array.isArray(parsed)) return parsed
    const items = parsed.map((one, index) => attempt([...path, index], one, (input) => item(input)))
    return obey(path, items, parsed)
  }

  function readSection(path: ValuePath, given: unknown): unknown {
    const expected = lists[nameOf(path.slice(0, -1))]?.each ?? 'a map of settings'
    const map = attempt(path, given === undefined ? {} : given, (value) => {
      return isMap(value) ? value : refuse(expected, value)
    })
    if (map === undefined) return undefined
    const set = Object.fromEntries(Object.entries(map).filter(([, value]) => isThere(value)))
    const keys = keysAt(path)
    for (const key of Object.keys(set).filter((one) => !keys.includes(one))) {
      complain([...path, key], `unknown key "${dotted([...path, key])}"${hintForKey(key, path)}`, true)
    }
    const entries = keys.flatMap((key) => {
      const value = read([...path, key], valueAt(set, [key]))
      const setting = settingAt([...path, key])
      // A setting that nobody has set and that has no default is not there.
      const isAbsent = setting !== undefined && setting.default === undefined && value === undefined
      return isAbsent ? [] : [[key, value]]
    })
    return obey(path, Object.fromEntries(entries), set)
  }

  /** Applies the rule of a section or list, where there is one. */
  function obey(path: ValuePath, values: unknown, given: unknown): unknown {
    const complainBelow: Complain = (below, message) => {
      // What could not be had is told already.
      if (!(valueAt(given, below) instanceof UnitError)) complain([...path, ...below], message)
    }
    const rule = rules[nameOf(path)]
    return rule ? rule(values, complainBelow, given as ValueMap) : values
  }

  function read(path: ValuePath, given: unknown): unknown {
    const setting = settingAt(path)
    const list = lists[nameOf(path)]
    if (setting) return readSetting(setting, path, given)
    if (!list) return readSection(path, given)
    const entries = attempt(path, given === undefined ? list.default : given, (value) => {
      return Array.isArray(value) ? value : refuse(list.expected, value)
    })
    if (entries?.length === 0 && list.empty) complain(path, list.empty)
    const values = entries?.map((entry, index) => read([...path, index], entry))
    return values && obey(path, values, entries)
  }

  return { config: read([], input) as Config, leaves }
}

type Rule = (values: unknown, complain: Complain, given: ValueMap) => unknown

/**
 * What the parts of a section or list have to do with each other: from the values that could be read (the others are
 * undefined), and from all that are given, what it is in code.
 */
const rules: Readonly<Record<string, Rule>> = {
  '': (values) => {
    const { local, auth } = values as Partial<Tree>
    const push = local?.push ?? usualPushRule(auth?.htpasswd !== undefined)
    return { ...(values as Tree), local: local && { ...local, push } }
  },
  'server.listen': (values, complain) => {
    const addresses = values as (ListenAddress | undefined)[]
    for (const [index, address] of addresses.entries()) {
      const clash = address && clashOf(address, addresses.slice(0, index))
      if (clash) complain([index], clash)
    }
    return addresses
  },
  'server.tls': (values, complain, { certificate, key }) => {
    if (certificate === undefined && key === undefined) return undefined
    if (key === undefined) complain(['certificate'], 'certificate needs key')
    if (certificate === undefined) complain(['key'], 'key needs certificate')
    return values
  },
  upstreams: (values, complain) => {
    const names = (values as (UpstreamConfig | undefined)[]).map((upstream) => upstream?.name)
    for (const [index, name] of names.entries()) {
      const first = names.indexOf(name)
      if (name !== undefined && first < index) {
        complain([index, 'name'], `"${name}" is already upstream ${first}: a name may occur once`)
      }
    }
    return values
  },
  'upstreams.*': (values, complain, given) => {
    checkCredentials(given, complain)
    const { name, url, realms = [] } = values as Partial<UpstreamConfig>
    if (name !== undefined && given.url === undefined && !looksLikeRegistry(name)) {
      complain(['name'], `"${name}" is not a host: it needs a url that says where the registry is`)
    }
    for (const [index, realm] of realms.entries()) {
      // What could not be read is undefined.
      if (!realm?.startsWith('http:') || url?.startsWith('http:')) continue
      complain(
        ['realms', index],
        'expected https: a registry at https must not send credentials over plain http',
      )
    }
    const isDockerHub = name === dockerHub.name && (url ?? dockerHub.url) === dockerHub.url
    return {
      ...(values as ValueMap),
      url: url ?? (isDockerHub ? dockerHub.url : `https://${name}`),
      realms: isDockerHub ? [...new Set([dockerHub.realm, ...realms])] : realms,
    }
  },
}

function checkCredentials({ username, password, passwordFile }: ValueMap, complain: Complain): void {
  const isSecret = password !== undefined || passwordFile !== undefined
  if (password !== undefined && passwordFile !== undefined) {
    complain(['passwordFile'], 'password and passwordFile are both set: keep one')
  } else if (username !== undefined && !isSecret) {
    complain(['username'], 'a username needs a password or a passwordFile')
  } else if (username === undefined && isSecret) {
    const name = password === undefined ? 'passwordFile' : 'password'
    complain([name], `a ${name} needs a username`)
  }
}

function hintForKey(key: string, section: ValuePath): string {
  const near = suggest(key, keysAt(section))
  if (near !== undefined) return `: did you mean "${near}"?`
  // "maxSize" at the top, or under "storage", belongs somewhere else; so does the flat "cache.maxSize".
  const elsewhere = settings.filter(({ path }) => path.at(-1) === key || dotted(path) === key)
  const [only, ...more] = elsewhere.map(({ path }) => dotted(path).replace('*', '0'))
  if (only === undefined || more.length > 0) return ''
  return only === dotted([...section, key])
    ? ': write it nested, not with a dot'
    : `: it belongs at "${only}"`
}
