import { Document, isMap, isScalar, isSeq, type Node } from 'yaml'
import type { Origin } from './origins.ts'
import { dotted, type ValuePath } from './value-tree.ts'

/** The values as YAML, each leaf with a comment that tells where it comes from. */
export function withOriginComments(values: unknown, origins: ReadonlyMap<string, Origin>): string {
  const document = new Document(values)
  const visit = (node: unknown, path: ValuePath): void => {
    const origin = origins.get(dotted(path))
    if (origin) {
      const leaf = node as Node
      // A list on one line, so that its comment stands behind it.
      if (isSeq(leaf)) leaf.flow = true
      leaf.comment = ` ${originText(origin)}`
    } else if (isMap(node)) {
      for (const { key, value } of node.items) visit(value, [...path, isScalar(key) ? String(key.value) : ''])
    } else if (isSeq(node)) {
      for (const [index, item] of node.items.entries()) visit(item, [...path, index])
    }
  }
  visit(document.contents, [])
  return document.toString({ lineWidth: 0, flowCollectionPadding: false })
}

function originText({ source, where }: Origin): string {
  if (source === 'file' && where !== undefined) return where
  return source === 'environment' ? `${where} (environment)` : source
}
