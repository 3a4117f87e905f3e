import { readFile } from 'node:fs/promises'
import { relative, sep } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

interface Range {
  readonly startOffset: number
  readonly endOffset: number
  readonly count: number
}

interface Report {
  readonly result: readonly {
    readonly url: string
    readonly functions: readonly { readonly ranges: Range[] }[]
  }[]
}

/** What was executed of source files, in all threads. */
export type Coverage = ReadonlyMap<string, (offset: number) => boolean>

/** Reads the reports of V8 (`NODE_V8_COVERAGE`) about what lies in the `src` of a folder; keys are relative to it. */
export async function coverageIn(reports: readonly string[], folder: string): Promise<Coverage> {
  const sources = pathToFileURL(`${folder}/src/`).href
  const scripts = new Map<string, Range[][]>()
  for (const path of reports) {
    const { result } = JSON.parse(await readFile(path, 'utf8')) as Report
    for (const { url, functions } of result) {
      if (!url.startsWith(sources)) continue
      const file = relative(folder, fileURLToPath(url)).split(sep).join('/')
      const ranges = functions.flatMap((each) => each.ranges)
      scripts.set(file, [...(scripts.get(file) ?? []), ranges])
    }
  }
  const isExecuted = (ranges: readonly Range[], offset: number): boolean => {
    const around = ranges.filter(({ startOffset, endOffset }) => startOffset <= offset && offset < endOffset)
    const [innermost] = around.toSorted(
      (one, other) => one.endOffset - one.startOffset - (other.endOffset - other.startOffset),
    )
    return (innermost?.count ?? 0) > 0
  }
  return new Map(
    [...scripts].map(([file, threads]) => [
      file,
      (offset) => threads.some((ranges) => isExecuted(ranges, offset)),
    ]),
  )
}
