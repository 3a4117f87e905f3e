import { readFile, writeFile } from 'node:fs/promises'
import { cpus, release, totalmem, type } from 'node:os'

const readme = new URL('../README.md', import.meta.url)
const marks = {
  start: '<!-- results: written by npm run bench -- --write -->',
  end: '<!-- end of results -->',
}

/** One paragraph: when and on what it was measured, without the machine's name. */
export function describeMachine(dockerRegistryVersion: string | undefined): string {
  const processors = cpus()
  const machine = `${processors.length} x ${processors[0]?.model ?? 'unknown processor'}`
  const memory = `${Math.round(totalmem() / 2 ** 30)} GiB`
  const other =
    dockerRegistryVersion === undefined
      ? 'docker-registry is not installed here, so that there is nothing to compare with (Debian: `apt install docker-registry`)'
      : `docker-registry ${dockerRegistryVersion}`
  const date = new Date().toISOString().slice(0, 10)
  return `${date}; ${machine}, ${memory}, ${type()} ${release()}; Node ${process.version}; ${other}.`
}

/** Replaces the results in benchmarks/README.md. Throws where their place is gone. */
export async function writeResults(results: string): Promise<void> {
  await writeFile(readme, withResults(await readFile(readme, 'utf8'), results))
}

/** The text with other results between its marks. Throws where the marks are missing. */
export function withResults(text: string, results: string): string {
  const start = text.indexOf(marks.start)
  const end = text.indexOf(marks.end, start)
  if (start < 0 || end < 0) throw new Error('benchmarks/README.md has no place for results')
  return `${text.slice(0, start + marks.start.length)}\n\n${results}\n\n${text.slice(end)}`
}
