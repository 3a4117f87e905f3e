import type { Question } from './question.ts'

/** How often an upstream gave which answer, for the metrics. */
export class AnswerCounts {
  readonly #byKind = new Map<string, number>()

  /** By `METHOD kind status`, such as `HEAD manifest 200`. */
  get byKind(): ReadonlyMap<string, number> {
    return this.#byKind
  }

  note({ method, path }: Pick<Question, 'method' | 'path'>, status: number): void {
    const what = path.slice(0, path.search(/[/?]/)).replace(/(manifest|blob)s/, '$1')
    const kind = `${method} ${what} ${status}`
    this.#byKind.set(kind, (this.#byKind.get(kind) ?? 0) + 1)
  }
}
