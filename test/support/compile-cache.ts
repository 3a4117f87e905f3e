const name = 'NODE_COMPILE_CACHE'
const value = process.env[name]

/** What each Node that a test starts has in its environment, where the run keeps what was compiled (test/run). */
export const compileCache: Readonly<Record<string, string>> = value === undefined ? {} : { [name]: value }
