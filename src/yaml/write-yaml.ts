import { Document, isSeq, type Node } from 'yaml'
import { pathOf } from './value-tree.ts'

/** The values as YAML, with comments behind some of them, by their dotted paths. */
export function withComments(values: unknown, comments: ReadonlyMap<string, string>): string {
  const document = new Document(values)
  for (const [name, comment] of comments) {
    const leaf = document.getIn(pathOf(name), true) as Node
    // A list on one line, so that its comment stands behind it.
    if (isSeq(leaf)) leaf.flow = true
    leaf.comment = ` ${comment}`
  }
  return document.toString({ lineWidth: 0, flowCollectionPadding: false })
}
