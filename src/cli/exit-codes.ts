/** The contract with scripts: docs/errors.md, "Exit codes". */
export const exitCodes = {
  done: 0,
  unexpected: 1,
  usage: 2,
  configuration: 3,
  storage: 8,
  refused: 11,
  /** Of `config check --strict`; of `rebuild`, where something is lost; of `verify`, where something is damaged. */
  warnings: 12,
  /** By a second SIGINT. */
  interrupted: 130,
  /** By a second SIGTERM. */
  terminated: 143,
} as const
