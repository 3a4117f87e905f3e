const meanings: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  ENOTDIR: 'no such file',
  EISDIR: 'this is a folder, not a file',
  EACCES: 'permission denied',
  ELOOP: 'too many symbolic links',
}

/** Why a file could not be read, in words; the system's message where there are none. */
export function fileFailure(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return meanings[code] ?? (error instanceof Error ? error.message : String(error))
}
