/** Letters, digits and "-": safe as a file name. */
export function isPartialId(text: string): boolean {
  return /^[a-z0-9-]+$/.test(text)
}

/** Throws TypeError where `id` is no name for a partial. */
export function assertPartialId(id: string): void {
  if (!isPartialId(id)) throw new TypeError(`"${id}" is no name for a partial`)
}
