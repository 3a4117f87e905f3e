/** The code of a file system's error such as ENOENT; undefined for anything else. */
export function fileErrorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

/** That say that there is no such file: also where something on the way to it is no folder, or a link in a circle. */
const absentCodes: ReadonlySet<string | undefined> = new Set(['ENOENT', 'ENOTDIR', 'ELOOP'])

/** Whether an error of the file system says that there is no such file. */
export function isAbsence(error: unknown): boolean {
  return absentCodes.has(fileErrorCode(error))
}

/** Turns "there is no such file" into undefined; every other error is thrown on. */
export async function absentIfMissing<Value>(operation: Promise<Value>): Promise<Value | undefined> {
  try {
    return await operation
  } catch (error) {
    if (isAbsence(error)) return undefined
    throw error
  }
}
