import { readFile } from 'node:fs/promises'

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/**
 * Names this run of the kernel, in whose memory writes survive the process that made them. Undefined where the system has no
 * such name (only Linux has).
 */
export async function bootId(): Promise<string | undefined> {
  const text = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '')
  const id = text.trim()
  return uuid.test(id) ? id : undefined
}
