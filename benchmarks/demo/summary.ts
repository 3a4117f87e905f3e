import { markdown, type Table } from '../support/table.ts'
import { showMegabytes, showMilliseconds, showMultiple } from '../support/units.ts'
import type { RoundResult } from './round.ts'

/** The rounds side by side. `size` is that of the image, in bytes. */
export function summarize(results: readonly RoundResult[], size: number): string {
  const row = (label: string, show: (result: RoundResult) => string): readonly string[] => [
    label,
    ...results.map(show),
  ]
  const table: Table = {
    head: ['', ...results.map(({ title }) => title)],
    notes: [],
    rows: [
      row('over the slow line', ({ lineBytes }) => showMegabytes(lineBytes)),
      row('as a multiple of the image', ({ lineBytes }) => showMultiple(lineBytes / size)),
      row('served to the clients', ({ servedBytes }) => showMegabytes(servedBytes)),
      row("pulls of the registry's quota", ({ pulls }) => String(pulls)),
      row('first byte, slowest client', ({ firstByteMs }) => showMilliseconds(firstByteMs)),
      row('whole image, slowest client', ({ totalMs }) => showMilliseconds(totalMs)),
    ],
  }
  return markdown(table)
}
