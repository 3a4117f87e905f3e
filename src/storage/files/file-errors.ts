/** The code of a file system's error such as ENOENT; undefined for anything else. */
export function fileErrorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

/** Turns "there is no such file" (ENOENT) into undefined; every other error is thrown on. */
export async function absentIfMissing<Value>(operation: Promise<Value>): Promise<Value | undefined> {
  try {
    return await operation
  } catch (error) {
    if (fileErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}
