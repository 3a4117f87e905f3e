import { readFile, writeFile } from 'node:fs/promises'
import { cpus, release, totalmem, type } from 'node:os'

const readme = new URL('../README.md', import.meta.url)
const bench = 'npm run bench'

/** What is compared with docker-registry: of which version, undefined where there is none. */
interface Compared {
  readonly dockerRegistryVersion: string | undefined
}

/** Said beside what `--quick` measures. */
export const withoutMeaning = 'Quick: figures without meaning.'

/** One paragraph: when and on what it was measured, without the machine's name. */
export function describeMachine(compared?: Compared): string {
  const processors = cpus()
  const machine = `${processors.length} x ${processors[0]?.model ?? 'unknown processor'}`
  const memory = `${Math.round(totalmem() / 2 ** 30)} GiB`
  const { dockerRegistryVersion } = compared ?? {}
  const other =
    dockerRegistryVersion === undefined
      ? 'docker-registry is not installed here, so that there is nothing to compare with (Debian: `apt install docker-registry`)'
      : `docker-registry ${dockerRegistryVersion}`
  const date = new Date().toISOString().slice(0, 10)
  const own = `${date}; ${machine}, ${memory}, ${type()} ${release()}; Node ${process.version}`
  return compared ? `${own}; ${other}.` : `${own}.`
}

/** Replaces the results of a command in benchmarks/README.md. Throws where their place is gone. */
export async function writeResults(results: string, command: string): Promise<void> {
  await writeFile(readme, withResults(await readFile(readme, 'utf8'), results, command))
}

/** Replaces those of the results of `npm run bench` that were measured anew. Throws where their place is gone. */
export async function writeSections(sections: readonly string[]): Promise<void> {
  await writeFile(readme, sections.reduce(withSection, await readFile(readme, 'utf8')))
}

/** The text with other results between the marks of the command. Throws where they are missing. */
export function withResults(text: string, results: string, command = bench): string {
  const { start, end } = placeOf(text, command)
  return `${text.slice(0, start)}\n\n${results}\n\n${text.slice(end)}`
}

/** The text with this section of results instead of the one with the same heading; as the last one where it is new. */
export function withSection(text: string, section: string): string {
  const { start, end } = placeOf(text, bench)
  const others = text
    .slice(start, end)
    .split(/^(?=### )/m)
    .map((one) => one.trim())
  const heading = headingOf(section)
  const at = others.findIndex((one) => headingOf(one) === heading)
  others.splice(at < 0 ? others.length : at, 1, section)
  return withResults(text, others.filter(Boolean).join('\n\n'))
}

function headingOf(section: string): string | undefined {
  return section.split('\n', 1)[0]
}

function placeOf(text: string, command: string): { start: number; end: number } {
  const mark = `<!-- results: written by ${command} -- --write -->`
  const start = text.indexOf(mark)
  const end = text.indexOf('<!-- end of results -->', start)
  if (start < 0 || end < 0) throw new Error('benchmarks/README.md has no place for results')
  return { start: start + mark.length, end }
}
