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
    readonly functions: readonly { readonly ranges: readonly Range[] }[]
  }[]
}

/** What was executed of source files, in all threads: where it begins and ends, in turn, in UTF-16 units. */
export type Coverage = Readonly<Record<string, readonly number[]>>

/** Whether what stands there was executed. */
export function isExecuted(coverage: Coverage, file: string, offset: number): boolean {
  const next = coverage[file]?.findIndex((bound) => bound > offset) ?? -1
  return next % 2 === 1
}

/** Reads the reports of V8 (`NODE_V8_COVERAGE`) about what lies in the `src` of a folder; keys are relative to it. */
export async function coverageIn(reports: readonly string[], folder: string): Promise<Coverage> {
  const sources = pathToFileURL(`${folder}/src/`).href
  const scripts = new Map<string, Uint8Array[]>()
  for (const path of reports) {
    for (const { url, functions } of reportIn(await readFile(path, 'utf8')).result) {
      if (!url.startsWith(sources)) continue
      const file = relative(folder, fileURLToPath(url)).split(sep).join('/')
      const painted = paint(functions.flatMap(({ ranges }) => ranges))
      scripts.set(file, [...(scripts.get(file) ?? []), painted])
    }
  }
  return Object.fromEntries([...scripts].map(([file, threads]) => [file, boundsOf(threads)]))
}

/** A process that was killed may have left half of one. */
function reportIn(text: string): Report {
  try {
    return JSON.parse(text) as Report
  } catch {
    return { result: [] }
  }
}

/** For each unit, whether the innermost range around it was executed. */
function paint(ranges: readonly Range[]): Uint8Array {
  const units = new Uint8Array(Math.max(0, ...ranges.map(({ endOffset }) => endOffset)))
  const length = ({ startOffset, endOffset }: Range): number => endOffset - startOffset
  for (const range of ranges.toReversed().toSorted((one, other) => length(other) - length(one))) {
    units.fill(range.count > 0 ? 1 : 0, range.startOffset, range.endOffset)
  }
  return units
}

function boundsOf(threads: readonly Uint8Array[]): number[] {
  const bounds: number[] = []
  const end = Math.max(...threads.map(({ length }) => length))
  for (let offset = 0; offset <= end; offset += 1) {
    const isOpen = bounds.length % 2 === 1
    if (threads.some((units) => units[offset] === 1) !== isOpen) bounds.push(offset)
  }
  return bounds
}
