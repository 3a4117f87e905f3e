import { Document, isSeq, type Node } from 'yaml'
import type { Origin } from './given.ts'
import { pathOf } from './value-tree.ts'

/** The values as YAML, each leaf with a comment that tells where it comes from. */
export function withOriginComments(values: unknown, origins: ReadonlyMap<string, Origin>): string {
  const document = new Document(values)
  for (const [name, { source, where }] of origins) {
    const leaf = document.getIn(pathOf(name), true) as Node
    // A list on one line, so that its comment stands behind it.
    if (isSeq(leaf)) leaf.flow = true
    leaf.comment = ` ${source === 'environment' ? `${where} (environment)` : (where ?? source)}`
  }
  return document.toString({ lineWidth: 0, flowCollectionPadding: false })
}
