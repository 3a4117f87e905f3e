import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join, resolve } from 'node:path'
import { ChildServer } from '../../support/child-process.ts'
import { freePort } from '../../support/free-port.ts'
import { selfSigned } from '../../upstream/fixtures.ts'
import { scratchFolder } from './scratch-folder.ts'

const page = resolve(import.meta.dirname, '../../../docs/operating.md')

/** nginx with what docs/operating.md tells to write, in front of a mirror. Dispose to stop it. */
export type WebServer = AsyncDisposable & {
  /** `127.0.0.1:<port>`, where it speaks TLS. */
  readonly host: string
  /** PEM, of its certificate, and where that lies. */
  readonly certificate: string
  readonly certificatePath: string
}

export type WebServerOptions = {
  /** What stands behind `proxy_pass`: `http://127.0.0.1:5000` or `http://unix:/path:`. */
  readonly behind: string
  /** The port that it listens on. */
  readonly port?: number
  /** Which of the page's ways: a host of its own, or a path that is taken off. */
  readonly way?: 'host' | 'path'
  /** Changes what the page has. */
  readonly edit?: (config: string) => string
}

/** What `startWebServer` needs of the machine. */
export const webServerPrograms = ['nginx', 'openssl'] as const

/** What docs/operating.md tells to write into mirror.yml for a web server in front, as variables. */
export function settingsOfPage(): Readonly<Record<string, string>> {
  const [, networks = ''] = /trustProxy: \[(.*?)\]/.exec(blockOfPage('yaml mirror.yml')) ?? []
  return { MIRROR_SERVER_TRUSTPROXY: JSON.stringify(networks.split(/, */)) }
}

/** Starts nginx as the page has it, with a certificate of its own. */
export async function startWebServer(options: WebServerOptions): Promise<WebServer> {
  const { behind, way = 'host', edit = (config) => config } = options
  await using building = new AsyncDisposableStack()
  const { path: folder } = building.use(await scratchFolder())
  const port = options.port ?? (await freePort())
  const { key, cert: certificate } = await selfSigned('IP:127.0.0.1')
  const [keyPath, certificatePath] = [join(folder, 'mirror.key'), join(folder, 'mirror.crt')]
  await writeFile(keyPath, key)
  await writeFile(certificatePath, certificate)
  const server = edit(way === 'host' ? blockOfPage('nginx host') : withPath())
    .replace('listen 443', `listen 127.0.0.1:${port}`)
    .replace('/etc/nginx/mirror.crt', certificatePath)
    .replace('/etc/nginx/mirror.key', keyPath)
    .replace('http://127.0.0.1:5000', behind)
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${join(folder, name)};`,
  )
  const config = join(folder, 'nginx.conf')
  await mkdir(join(folder, 'logs'))
  await writeFile(
    config,
    [
      ...['daemon off;', 'user root;', `pid ${join(folder, 'pid')};`, 'error_log stderr warn;', 'events {}'],
      `http { access_log ${join(folder, 'access.log')}; ${temporary.join(' ')}\n${server}\n}`,
    ].join('\n'),
  )
  const nginx = building.use(ChildServer.start('nginx', ['-p', folder, '-c', config, '-e', 'stderr']))
  await nginx.ready(() => isListening(port), 'listens')
  const parts = building.move()
  return {
    host: `127.0.0.1:${port}`,
    certificate,
    certificatePath,
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  }
}

async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

/** The page's server with the location below a path: the lines of the other one that are not said anew stay. */
function withPath(): string {
  const whole = blockOfPage('nginx host')
  const [start = '', rest = ''] = whole.split(/^ {4}location \/ \{\n/m)
  const path = blockOfPage('nginx path')
  const kept = rest.split('\n').filter((line) => !/proxy_pass|X-Forwarded-Prefix/.test(line))
  return [start + path.trimEnd(), ...kept].join('\n')
}

/** A fenced block of the page by what stands behind its fence. */
function blockOfPage(name: string): string {
  const found = readFileSync(page, 'utf8').split(`\`\`\`${name}\n`)[1]?.split('\n```')[0]
  assert.ok(found, `docs/operating.md has a block ${name}`)
  return `${found}\n`
}
