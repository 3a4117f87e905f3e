const longestAgent = 40

/** The program and its version out of a User-Agent that tells its life: `docker/29.1.3`. */
export function shortAgent(agent: string): string {
  const [first = ''] = agent.trimStart().split(/\s/, 1)
  return first.length <= longestAgent ? first : `${first.slice(0, longestAgent)}…`
}
