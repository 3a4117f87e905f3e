import { createHash, randomFillSync } from 'node:crypto'
import { mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from '../../test/support/free-port.ts'
import { selfSigned } from '../../test/upstream/fixtures.ts'
import type { BlobSummary } from './hub-control.ts'
import { type Place, ServerProcess } from './server-process.ts'

export const repository = 'library/bench'

const pieceBytes = 1024 * 1024
const blobs = `v2/${repository}/blobs`

/**
 * The cheapest registry that there is, so that its own time does not matter: nginx with blobs in files, without
 * manifests and without tokens, as plain HTTP and over TLS. Dispose to end it.
 */
export class BlobServer implements AsyncDisposable {
  /** Without a slash at the end. */
  readonly url: string
  readonly tlsUrl: string
  /** The file with the authority (PEM) that signed its certificate. */
  readonly ca: string
  readonly #nginx: ServerProcess

  private constructor(nginx: ServerProcess, tlsPort: number) {
    this.url = nginx.url
    this.tlsUrl = `https://127.0.0.1:${tlsPort}`
    this.ca = join(nginx.directory, 'tls.crt')
    this.#nginx = nginx
  }

  /** Rejects where nginx or openssl is not installed. */
  static async start(): Promise<BlobServer> {
    const tlsPort = await freePort()
    const { key, cert } = await selfSigned('IP:127.0.0.1')
    const nginx = await ServerProcess.start(async (place) => {
      const at = (name: string): string => join(place.directory, name)
      await mkdir(at(`www/${blobs}`), { recursive: true })
      await writeFile(at('tls.key'), key, { mode: 0o600 })
      await writeFile(at('tls.crt'), cert)
      await writeFile(at('nginx.conf'), configuration(place, tlsPort))
      const parameters = ['-p', place.directory, '-c', at('nginx.conf'), '-e', 'stderr']
      return { program: 'nginx', arguments: parameters }
    })
    return new BlobServer(nginx, tlsPort)
  }

  /** Adds a blob that is like no other. To be removed by the caller. */
  async add(size: number): Promise<BlobSummary> {
    const folder = join(this.#nginx.directory, 'www', blobs)
    const piece = new Uint8Array(pieceBytes)
    const hash = createHash('sha256')
    await using file = await open(join(folder, 'new'), 'w')
    for (let left = size; left > 0; left -= piece.length) {
      const part = randomFillSync(piece).subarray(0, left)
      hash.update(part)
      await file.writeFile(part)
    }
    const digest = `sha256:${hash.digest('hex')}`
    // On the disk now: nobody's turn pays for it.
    await file.sync()
    await rename(join(folder, 'new'), join(folder, digest))
    return { digest, size }
  }

  remove({ digest }: BlobSummary): Promise<void> {
    return rm(join(this.#nginx.directory, 'www', blobs, digest))
  }

  /** Bytes of bodies that were sent of a blob so far, by answers that have ended. */
  async bytesSent({ digest }: BlobSummary): Promise<number> {
    const log = await readFile(join(this.#nginx.directory, 'access.log'), 'latin1')
    const sent = log.split('\n').filter((line) => line.endsWith(digest))
    return sent.reduce((sum, line) => sum + Number(line.split(' ')[0]), 0)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#nginx[Symbol.asyncDispose]()
  }
}

function configuration({ port, directory }: Place, tlsPort: number): string {
  const at = (name: string): string => join(directory, name)
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `  ${name}_temp_path ${at(name)};`,
  )
  const server = `  server {
    listen 127.0.0.1:${port};
    listen 127.0.0.1:${tlsPort} ssl;
    ssl_certificate ${at('tls.crt')};
    ssl_certificate_key ${at('tls.key')};
    # Left to themselves, they would choose ciphers that cost differently.
    ssl_protocols TLSv1.3;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
    root ${at('www')};
    location = /v2/ { return 200 '{}'; }
  }`
  return `daemon off;
${process.getuid?.() === 0 ? 'user root;' : ''}
worker_processes 2;
pid ${at('pid')};
error_log stderr error;
events { worker_connections 1024; }
http {
  default_type application/octet-stream;
  add_header Docker-Distribution-API-Version registry/2.0;
  sendfile on;
  log_format sent '$body_bytes_sent $uri';
  access_log ${at('access.log')} sent;
${temporary.join('\n')}
${server}
}
`
}
