// Read by Nodes that are too old for everything else: no import, and no syntax that they do not know.

/** As package.json has it (`engines`). */
export const neededNode = '24.14.1'

/** What to tell somebody whose Node, such as `v20.20.2`, is too old; undefined where it is not. */
export function tooOld(version: string): string | undefined {
  const [running, needed] = [numbersOf(version), numbersOf(neededNode)]
  const at = needed.findIndex((number, index) => number !== running[index])
  if (at === -1 || Number(running[at]) > Number(needed[at])) return undefined
  return `larder: needs Node ${neededNode} or newer, and this is ${version}
Put the bin folder of the installation, which has its own node, first in PATH: PATH=/opt/larder/bin:$PATH larder
`
}

function numbersOf(version: string): number[] {
  return version.replace(/^v/, '').split('.').map(Number.parseFloat)
}
