import type { JsonObject } from './json.ts'

/** The fields of manifests, indexes, descriptors and platforms (image-spec). */
const fields: ReadonlySet<string> = new Set([
  ...['schemaVersion', 'mediaType', 'artifactType', 'config', 'layers', 'manifests', 'subject'],
  ...['annotations', 'digest', 'size', 'urls', 'data', 'platform', 'fsLayers', 'blobSum'],
  ...['architecture', 'os', 'os.version', 'os.features', 'variant', 'features'],
])
const fieldByFolded = new Map([...fields].map((field) => [folded(field), field]))

const none: readonly FoldedKey[] = []

/** A key that is none of the specification, and that some parsers take for one. */
export interface FoldedKey {
  readonly key: string
  readonly meant: string
}

/** The keys of an object that differ by case alone from a specified one, which Go's parser takes them for. */
export function foldedKeys(object: JsonObject): readonly FoldedKey[] {
  let found: FoldedKey[] | undefined
  // Of a manifest with thousands of layers each is asked: nothing is made for those that are as they should be.
  for (const key in object) {
    if (fields.has(key)) continue
    const meant = fieldByFolded.get(folded(key))
    if (meant === undefined) continue
    found ??= []
    found.push({ key, meant })
  }
  return found ?? none
}

/** As Go compares keys: also the long s and the Kelvin sign are letters of ASCII to it. */
function folded(key: string): string {
  return key.toUpperCase().toLowerCase()
}
