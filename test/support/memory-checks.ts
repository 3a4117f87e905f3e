const name = 'LARDER_CHECK_MEMORY'
const value = process.env[name]

/** What each Larder of a test has in its environment, where the run wants its memory checked (test/run). */
export const memoryChecks: Readonly<Record<string, string>> = value === undefined ? {} : { [name]: value }
