import v8 from 'node:v8'
import { collectGarbage, keepThreadsLean } from '../flow/collect-garbage.ts'

/**
 * The program's own flags of V8, here and nowhere else, so that they are with it however it is started. This one keeps
 * the part of the heap for what is new at its first size, since objects die young here. V8 asks for it at each growth;
 * `max-semi-space-size`, which says the same, it asks for before any of this runs.
 */
const flags = ['--semi-space-growth-factor=1']
/** What is hot in the start is never hot again: its compilers, and what they make of it, are 11 MB. */
const compilers = ['sparkplug', 'maglev', 'turbofan']
/** Where both are, and V8 has them on. */
const architectures: readonly string[] = ['x64', 'arm64']
/** Whoever sets one of these has an opinion about the compilers. */
const opinions = /jitless|lite-mode|sparkplug|maglev|turbofan|-opt\b/
/** Each import of node:http asks for all that it exports, and these come from undici: 5 MB that nobody here needs. */
const unused = ['WebSocket', 'CloseEvent', 'MessageEvent']

/**
 * Sets the process up to hold little memory; before whatever imports node:http. What is returned is to be called once the
 * start is over: it gives back what that has left, and what is hot from then on is compiled.
 */
export function beginLean(options: readonly string[]): () => void {
  const isOurs = architectures.includes(process.arch) && !options.some((option) => opinions.test(option))
  setFlags([...flags, ...(isOurs ? compilers.map((name) => `--no-${name}`) : [])])
  keepThreadsLean()
  const http = process.getBuiltinModule('node:http')
  for (const name of unused) Reflect.deleteProperty(http, name)
  return () => {
    if (isOurs) setFlags(compilers.map((name) => `--${name}`))
    collectGarbage()
  }
}

function setFlags(names: readonly string[]): void {
  for (const name of names) v8.setFlagsFromString(name)
}
