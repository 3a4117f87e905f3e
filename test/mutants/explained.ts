/** A mutant that no test need notice: it is another way to write the same, or costs less than a test would. */
export interface Explained {
  readonly file: string
  /** The line of the source, trimmed. */
  readonly line: string
  /** What becomes of it, trimmed. */
  readonly becomes: string
  readonly why: string
}

export const explained: readonly Explained[] = []
