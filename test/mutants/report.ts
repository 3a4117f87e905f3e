import { explained } from './explained.ts'

export interface Judged {
  readonly file: string
  readonly lineNumber: number
  /** Trimmed, as what it becomes. */
  readonly line: string
  readonly becomes: string
  readonly verdict: 'killed' | 'out of time' | 'survived' | 'not executed'
  /** The test that noticed. */
  readonly by?: string
}

/** A page about mutants, and how many are neither killed nor explained. */
export function report(
  judged: readonly Judged[],
  {
    command,
    leftOut,
    notReached,
  }: { readonly command: string; readonly leftOut: readonly string[]; readonly notReached: number },
): { readonly text: string; readonly open: number } {
  const rooms = Map.groupBy(judged, ({ file }) =>
    file
      .split('/')
      .slice(1, file.includes('http/') ? 3 : 2)
      .join('/'),
  )
  const rows = [...rooms, ['all', judged] as const].map(([room, mutants]) => {
    const counts = (['killed', 'out of time', 'survived', 'not executed'] as const).map(
      (verdict) => mutants.filter((mutant) => mutant.verdict === verdict).length,
    )
    return `| ${[room, mutants.length, ...counts].join(' | ')} |`
  })
  const alive = judged
    .filter(({ verdict }) => verdict === 'survived' || verdict === 'not executed')
    .sort((one, other) =>
      one.file === other.file ? one.lineNumber - other.lineNumber : one.file < other.file ? -1 : 1,
    )
  const open = alive.filter((mutant) => whyOf(mutant) === undefined)
  const text = `# Mutants

One place of the source is changed at a time; the tests that execute it should notice. Made by \`${command}\`: a change that is not noticed gets a test, or a line in \`test/mutants/explained.ts\`. "Out of time" is noticed, too.${leftOut.length > 0 ? ` Tests that failed without any mutant, and were left out: ${leftOut.join(', ')}.` : ''}${notReached > 0 ? ` In the time that there was ${notReached} more were not made.` : ''}

| | mutants | killed | out of time | survived | not executed |
|---|---|---|---|---|---|
${rows.join('\n')}

## Not killed

${alive.map(describe).join('\n') || 'None.'}
`
  return { text, open: open.length }
}

function describe(mutant: Judged): string {
  const { file, lineNumber, line, becomes, verdict } = mutant
  const why = whyOf(mutant) ?? (verdict === 'survived' ? '**no test notices**' : '**no test executes it**')
  return `- ${file}:${lineNumber} \`${line}\` → \`${becomes}\`: ${why}`
}

function whyOf({ file, line, becomes }: Judged): string | undefined {
  return explained.find((one) => one.file === file && one.line === line && one.becomes === becomes)?.why
}
