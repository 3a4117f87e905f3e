import type { Kind } from './kinds.ts'
import type { Complaint } from './problems.ts'
import { keysAt, lists, nameOf, type Setting, settingAt, settings, type table } from './settings.ts'
import { suggest } from './suggestion.ts'
import { describeValue, UnitError } from './units.ts'
import { dotted, isMap, type ValueMap, type ValuePath, valueAt } from './value-tree.ts'

type Head<Name> = Name extends `${infer First}.${string}` ? First : Name
type Below<T, First extends string> = {
  [Name in keyof T as Name extends `${First}.${infer Rest}` ? Rest : never]: T[Name]
}
type Value<T, First> = First extends keyof T
  ? T[First] extends Kind<infer V>
    ? V
    : never
  : First extends string
    ? Values<Below<T, First>>
    : never
/** Settings by their dotted names, as maps in maps; `*` is a list. What has no value may be missing. */
type Values<T> =
  '*' extends Head<keyof T>
    ? Values<Below<T, '*'>>[]
    : {
        [First in Head<keyof T> as undefined extends Value<T, First> ? never : First & string]: Value<
          T,
          First
        >
      } & {
        [First in Head<keyof T> as undefined extends Value<T, First> ? First & string : never]?: Value<
          T,
          First
        >
      }

type Tree = Values<typeof table>
interface Tls {
  readonly certificate: string
  readonly key: string
}

/** One upstream of a Config: `url` and `realms` (origins) are filled in, without a slash at the end. */
export type UpstreamConfig = Tree['upstreams'][number] & { url: string; realms: readonly string[] }

/**
 * The configuration in force. Durations are milliseconds, and those with a word such as `never` may be Infinity, which
 * no timer takes. Sizes are bytes (`cache.maxSize` may also be `auto` or a share of the disk), rates bytes a second,
 * undefined without a limit. Paths are absolute. `upstreams[].password` holds what `passwordFile` said.
 */
export type Config = Omit<Tree, 'server' | 'upstreams'> & {
  server: Omit<Tree['server'], 'tls'> & { tls: Tls | undefined }
  upstreams: UpstreamConfig[]
}

const dockerHub = { name: 'docker.io', url: 'https://registry-1.docker.io', realm: 'https://auth.docker.io' }
// As Docker tells a host from a name's first part: it has a dot or a port, or it is "localhost".
const registryHost = /[.:]|^localhost$/

type Complain = (path: ValuePath, message: string, about?: 'key') => void

/**
 * Reads a tree of values by the table, into the form of the code; `absolute` resolves a path. What is wrong is left
 * out and complained of, and all else is read nevertheless: the configuration is whole where there are no complaints.
 */
export function readConfig(
  input: unknown,
  absolute: (path: ValuePath, value: string) => string,
): { config: Config; complaints: Complaint[] } {
  const complaints: Complaint[] = []
  const complain: Complain = (path, message, about) =>
    void complaints.push({ path, about: about ?? 'value', message })

  function attempt(path: ValuePath, read: () => unknown): unknown {
    try {
      return read()
    } catch (error) {
      if (!(error instanceof UnitError)) throw error
      return complain(path, error.message)
    }
  }

  function readSetting({ type }: Setting, path: ValuePath, given: unknown): unknown {
    const input = given === undefined ? type.default : given
    if (input === undefined && !type.required) return undefined
    const value = attempt(path, () => type.parse(input))
    if (type.path && typeof value === 'string') return absolute(path, value)
    const { item: readItem } = type
    if (!readItem || !Array.isArray(input) || !Array.isArray(value)) return value
    const items: unknown[] = []
    for (const [index, item] of value.entries()) {
      items.push(attempt([...path, index], () => readItem(item, items)))
    }
    return items
  }

  function readSection(path: ValuePath, given: unknown, earlier: readonly unknown[]): unknown {
    if (given !== undefined && !isMap(given)) {
      const expected = lists[nameOf(path.slice(0, -1))]?.each ?? 'a map of settings'
      return complain(path, `expected ${expected}; got ${describeValue(given)}`)
    }
    const keys = keysAt(path)
    for (const key of Object.keys(given ?? {})) {
      if (keys.includes(key)) continue
      const at = [...path, key]
      complain(at, `unknown key "${dotted(at)}"${hintForKey(key, path)}`, 'key')
    }
    const entries = keys.flatMap((key) => {
      const value = read([...path, key], valueAt(given, [key]))
      const setting = settingAt([...path, key])
      const isAbsent = value === undefined && setting !== undefined && setting.default === undefined
      return isAbsent ? [] : [[key, value]]
    })
    const finish = sections[nameOf(path)] ?? ((values) => values)
    const complainBelow: Complain = (below, message) => complain([...path, ...below], message)
    return finish(Object.fromEntries(entries), given ?? {}, complainBelow, earlier as ValueMap[])
  }

  function read(path: ValuePath, given: unknown, earlier: readonly unknown[] = []): unknown {
    const setting = settingAt(path)
    if (setting) return readSetting(setting, path, given)
    const list = lists[nameOf(path)]
    if (!list) return readSection(path, given, earlier)
    const entries = given ?? list.default
    if (!Array.isArray(entries))
      return complain(path, `expected ${list.expected}; got ${describeValue(given)}`)
    if (entries.length === 0) complain(path, list.empty)
    const values: unknown[] = []
    for (const [index, entry] of entries.entries()) values.push(read([...path, index], entry, values))
    return values
  }

  return { config: read([], input) as Config, complaints }
}

/**
 * What the settings of a section have to do with each other: from the values that could be read, and from all that are
 * given, the section in code. `earlier` are the entries of a list before this one.
 */
const sections: Readonly<
  Record<string, (values: ValueMap, given: ValueMap, complain: Complain, earlier: ValueMap[]) => unknown>
> = {
  'server.tls': (values, { certificate, key }, complain) => {
    if (certificate === undefined && key === undefined) return undefined
    const [present, missing] = key === undefined ? ['certificate', 'key'] : ['key', 'certificate']
    if (certificate === undefined || key === undefined) complain([present], `${present} needs ${missing}`)
    return values
  },
  'upstreams.*': (values, given, complain, earlier) => {
    checkCredentials(given, complain)
    const { name, url, realms = [] } = values as Partial<UpstreamConfig>
    if (name !== undefined && given.url === undefined && !registryHost.test(name)) {
      complain(['name'], `"${name}" is not a host: it needs a url that says where the registry is`)
    }
    const first = earlier.findIndex((other) => other?.name === name)
    if (name !== undefined && first >= 0) {
      complain(['name'], `"${name}" is already upstream ${first}: a name may occur once`)
    }
    for (const [index, realm] of realms.entries()) {
      // What could not be read is undefined.
      if (!realm?.startsWith('http:') || url?.startsWith('http:')) continue
      const message = 'expected https: a registry at https must not send credentials over plain http'
      complain(['realms', index], message)
    }
    const isDockerHub = name === dockerHub.name && (url === undefined || url === dockerHub.url)
    return {
      ...values,
      url: url ?? (isDockerHub ? dockerHub.url : `https://${name}`),
      realms: isDockerHub ? [...new Set([dockerHub.realm, ...realms])] : realms,
    }
  },
}

function checkCredentials({ username, password, passwordFile }: ValueMap, complain: Complain): void {
  if (password !== undefined && passwordFile !== undefined) {
    complain(['passwordFile'], 'password and passwordFile are both set: keep one')
  } else if (username !== undefined && password === undefined && passwordFile === undefined) {
    complain(['username'], 'a username needs a password or a passwordFile')
  } else if (username === undefined && password !== undefined) {
    complain(['password'], 'a password needs a username')
  } else if (username === undefined && passwordFile !== undefined) {
    complain(['passwordFile'], 'a passwordFile needs a username')
  }
}

function hintForKey(key: string, section: ValuePath): string {
  const near = suggest(key, keysAt(section))
  if (near !== undefined) return `: did you mean "${near}"?`
  // "maxSize" at the top, or under "storage", belongs somewhere else; so does the flat "cache.maxSize".
  const elsewhere = settings.filter(({ path }) => path.at(-1) === key || path.join('.') === key)
  const [only, ...more] = elsewhere.map(({ path }) => path.join('.').replace('*', '0'))
  if (only === undefined || more.length > 0) return ''
  const isFlat = only === dotted([...section, key])
  return isFlat ? ': write it nested, not with a dot' : `: it belongs at "${only}"`
}
