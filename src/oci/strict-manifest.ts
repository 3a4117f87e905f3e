import { RegistryError } from './error.ts'
import { foldedKeys } from './folded-keys.ts'
import { isJsonObject, type JsonObject, parseJsonObject } from './json.ts'
import { type ParsedManifest, parseManifest } from './manifest.ts'

/**
 * Reads a manifest that somebody wants to be kept, and passed on to clients of which each has its own parser: throws
 * RegistryError MANIFEST_INVALID (400) as `parseManifest` does, and where parsers disagree: a key that an object has
 * twice, or one that differs from a specified one by case alone, which Go's takes for it, or a `schemaVersion` that is not
 * 2; and for what names nothing.
 */
export function parseStrictManifest(bytes: Uint8Array, contentType: string | undefined): ParsedManifest {
  const parsed = parseManifest(bytes, contentType)
  const body = parseJsonObject(bytes, invalid)
  if (body.config == null && body.layers == null && body.manifests == null && body.fsLayers == null) {
    throw invalid('has neither a config nor layers nor manifests')
  }
  // Some tell what it is by this number, whatever its media type says.
  if (body.schemaVersion !== 2) throw invalid('has a schemaVersion that is not 2')
  const twice = firstDuplicate(new TextDecoder().decode(bytes))
  if (twice !== undefined) throw invalid(`has the key ${JSON.stringify(twice)} twice in one object`)
  for (const object of specifiedObjects(body)) {
    const [odd] = foldedKeys(object)
    if (odd) throw invalid(`has the key ${JSON.stringify(odd.key)}, which some clients take for ${odd.meant}`)
  }
  return parsed
}

/** Those whose keys the specification gives: in annotations and the like case tells keys apart. */
function specifiedObjects(body: JsonObject): JsonObject[] {
  const lists = [body.layers, body.manifests].flatMap((value) => (Array.isArray(value) ? value : []))
  const descriptors = [body.config, body.subject, ...lists].filter(isJsonObject)
  return [body, ...descriptors, ...descriptors.map(({ platform }) => platform).filter(isJsonObject)]
}

/** `text` is valid JSON. */
function firstDuplicate(text: string): string | undefined {
  const open: (Set<string> | undefined)[] = []
  for (const { 0: token, 1: mark, index } of text.matchAll(/"(?:[^"\\]|\\.)*"|([{}[\]])/g)) {
    if (mark === '{') open.push(new Set())
    else if (mark === '[') open.push(undefined)
    else if (mark) open.pop()
    else if (/^[ \t\r\n]*:/.test(text.slice(index + token.length, index + token.length + 100))) {
      const key: string = JSON.parse(token)
      const keys = open.at(-1)
      if (keys?.has(key)) return key
      keys?.add(key)
    }
  }
  return undefined
}

function invalid(problem: string, cause?: unknown): RegistryError {
  return new RegistryError('MANIFEST_INVALID', `The manifest ${problem}`, { cause })
}
