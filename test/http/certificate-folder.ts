import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { selfSigned } from '../upstream/fixtures.ts'

/** A folder with a certificate and its key, which can be renewed. */
export async function certificateFolder(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'larder-tls-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const [certificate, key] = [join(folder, 'tls.crt'), join(folder, 'tls.key')]
  const renew = async (): Promise<void> => {
    const made = await selfSigned('DNS:localhost')
    await writeFile(key, made.key)
    await writeFile(certificate, made.cert)
  }
  await renew()
  return { certificate, key, renew }
}
