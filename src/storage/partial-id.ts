/** Throws TypeError where `id` is no name for a partial: letters, digits and "-", safe as a file name. */
export function assertPartialId(id: string): void {
  if (!/^[a-z0-9-]+$/.test(id)) throw new TypeError(`"${id}" is no name for a partial`)
}
