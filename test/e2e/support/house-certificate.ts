import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from '../../support/child-process.ts'

/** A server's key and certificate, and the authority that signed it; all PEM. */
export type HouseCertificate = { readonly key: string; readonly cert: string; readonly authority: string }

/** Makes a certificate authority, as a house or a company has its own, and a certificate of it for some names. */
export async function houseCertificate(folder: string, names: readonly string[]): Promise<HouseCertificate> {
  const at = (name: string): string => join(folder, name)
  const keyOptions = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  const request = (name: string) => [
    'req',
    ...keyOptions,
    '-subj',
    `/CN=${name}`,
    '-keyout',
    at(`${name}.key`),
  ]
  await run('openssl', [...request('house'), '-x509', '-days', '3', '-out', at('house.pem')])
  await run('openssl', [...request('server'), '-out', at('server.csr')])
  await writeFile(at('names'), `subjectAltName=${names.map((name) => `DNS:${name}`).join(',')}\n`)
  const signer = ['-CA', at('house.pem'), '-CAkey', at('house.key'), '-CAcreateserial', '-days', '3']
  await run('openssl', [
    ...['x509', '-req', '-in', at('server.csr'), ...signer],
    ...['-extfile', at('names'), '-out', at('server.pem')],
  ])
  const [key, cert, authority] = await Promise.all(
    ['server.key', 'server.pem', 'house.pem'].map((name) => readFile(at(name), 'utf8')),
  )
  return { key: key ?? '', cert: cert ?? '', authority: authority ?? '' }
}
