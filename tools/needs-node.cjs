// Loaded first (`node -r`), also by Nodes that are too old to read TypeScript: says what is missing instead of a stack.
const needed = require('../package.json').engines.node.replace('>=', '')
const numbersOf = (version) => version.replace('v', '').split('.').map(Number.parseFloat)
const [running, least] = [process.version, needed].map(numbersOf)
const at = least.findIndex((number, index) => number !== running[index])
if (at !== -1 && running[at] < least[at]) {
  process.stderr.write(`larder: needs Node ${needed} or newer, and this is ${process.version}
It comes with the development dependencies, which "npm ci --include=dev" installs
`)
  process.exit(2)
}
