import { readFile, writeFile } from 'node:fs/promises'
import {
  type AddressInfo,
  connect,
  createServer as createTcpServer,
  type Server,
  type Socket,
} from 'node:net'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import { run } from '../../support/child-process.ts'
import { type DockerHub, startDockerHub } from '../../support/docker-hub.ts'
import { buildImage } from '../../support/images.ts'
import { until } from '../../support/settle.ts'
import { type SlowLine, startSlowLine } from '../../support/slow-line.ts'
import { fileOfPage } from './clients-page.ts'
import { type DockerDaemon, type DockerRelease, startDockerDaemon } from './docker-daemon.ts'
import { houseCertificate } from './house-certificate.ts'
import { type LarderProcess, startLarder } from './larder-process.ts'
import { attestedIndex, largeImage } from './sample-images.ts'
import { scratchFolder } from './scratch-folder.ts'

/** What one pull was like. */
type PullReport = {
  readonly ms: number
  /** What the client said; undefined where it succeeded. */
  readonly failure?: string | undefined
  readonly upstreamRequests: number
}

/** What happened in the scene, for the test to judge. */
export type SceneReport = {
  /** Milliseconds that a connection over the line takes to open. */
  readonly handshakeMs: number
  readonly first: PullReport
  readonly second: PullReport
  readonly afterReset: PullReport
  readonly cut: PullReport & { readonly cuts: number; readonly size: number; readonly received: number }
  readonly gone: PullReport
  readonly house: PullReport
  /** Whether the mirror ever took the upstream for dead. */
  readonly circuitOpened: boolean
  /** `host:port` of all that went through the forward proxy. */
  readonly proxied: readonly string[]
  /** What the client tried to reach besides the mirror. */
  readonly attempts: readonly string[]
}

const names = { registry: 'registry.far.test', token: 'auth.far.test', cdn: 'storage.far.test' } as const
const line = { delayMs: 300, rateBytesPerSecond: 4_000_000 }

const [way, release] = process.argv.slice(2)
const report = await play(way === 'proxy', release as DockerRelease)
process.stdout.write(`\n${JSON.stringify(report)}\n`)

/** Runs in a network and a mount namespace of its own, as root: it changes addresses, names and certificates. */
async function play(byProxy: boolean, release: DockerRelease): Promise<SceneReport> {
  await using building = new AsyncDisposableStack()
  const { path: folder } = building.use(await scratchFolder())
  await run('ip', ['link', 'set', 'lo', 'up'])
  const certificate = await houseCertificate(folder, Object.values(names))
  await pretendSystem(folder, certificate.authority)
  const far = building.use(await startSlowLine(line))
  const hub = building.use(await startFarHub(far, certificate))
  const house = building.use(await startDockerHub({ auth: 'none' }))
  const small = buildImage({ seed: 'small', layers: [50_000] })
  const { image: large } = largeImage()
  hub.addImage('library/attested', 'latest', attestedIndex())
  hub.addImage('library/large-larder', 'v1', large)
  hub.addImage('library/small', 'v2', small)
  house.addImage('team/app', 'v1', small)
  const proxy = byProxy ? building.use(await startForwardProxy()) : undefined
  const larder = building.use(
    await startLarder({
      upstreams: [
        { name: 'docker.io', url: hub.url },
        { name: 'house', url: house.url },
      ],
      environment: proxy
        ? { HTTP_PROXY: proxy.host, HTTPS_PROXY: proxy.url, NO_PROXY: '10.0.0.0/8,127.0.0.0/8' }
        : {},
    }),
  )
  const daemon = building.use(
    await startDockerDaemon({ release, files: fileOfPage('/etc/docker/daemon.json', larder.host) }),
  )
  const pull = pulls(daemon, hub)

  const handshakeMs = await handshake(new URL(hub.url))
  const first = await pull('attested')
  await larder.settled()
  await daemon.docker('rmi', '--force', 'attested')
  const second = await pull('attested')
  far.cutAll()
  const afterReset = await pull('small:v2', `${larder.url}/v2/library/small/manifests/v2`)
  const circuitOpened = (await larder.metric('larder_upstream_reachable')) < 2
  const cut = await pullWithCuts({ pull: () => pull('large-larder:v1'), far, larder, size: sizeOf(large) })
  await daemon.docker('rmi', '--force', 'attested')
  await far.refuse()
  far.cutAll()
  const gone = await pull('attested')
  const atHome = await pull('house/team/app', `${larder.url}/v2/house/team/app/manifests/v1`)
  return {
    ...{ handshakeMs, first, second, afterReset, cut, gone, circuitOpened, house: atHome },
    proxied: proxy?.targets ?? [],
    attempts: daemon.attempts,
  }
}

/** Pulls by the client; where a URL is given, that is asked for instead: the image cannot be run. */
function pulls(daemon: DockerDaemon, hub: DockerHub) {
  return async (image: string, url?: string): Promise<PullReport> => {
    const before = hub.requests.length
    const startedAt = performance.now()
    let failure: string | undefined
    if (url === undefined) {
      const { code, stderr } = await daemon.tryDocker('pull', image)
      if (code !== 0) failure = stderr
    } else {
      const answer = await fetch(url)
      const text = await answer.text()
      if (answer.status !== 200) failure = `${answer.status} ${text}`
    }
    const ms = Math.round(performance.now() - startedAt)
    return { ms, failure, upstreamRequests: hub.requests.length - before }
  }
}

async function pullWithCuts({
  pull,
  far,
  larder,
  size,
}: {
  pull: () => Promise<PullReport>
  far: SlowLine
  larder: LarderProcess
  size: number
}): Promise<SceneReport['cut']> {
  const before = await larder.metric('larder_upstream_received_bytes_total')
  const received = async () => (await larder.metric('larder_upstream_received_bytes_total')) - before
  let hasEnded = false
  const pulling = pull().finally(() => {
    hasEnded = true
  })
  let cuts = 0
  for (const share of [0.3, 0.6]) {
    const isFar = async () => hasEnded || (await received()) > size * share
    await until(isFar, { timeoutMs: 60_000, what: `${share} of the image is here` })
    if (hasEnded) break
    far.cutAll()
    cuts += 1
  }
  const report = await pulling
  await larder.settled()
  return { ...report, cuts, size, received: await received() }
}

/** A look-alike of Docker Hub over TLS, behind the line, whose connections take a second to open. */
async function startFarHub(
  far: SlowLine,
  { key, cert }: { readonly key: string; readonly cert: string },
): Promise<DockerHub> {
  return startDockerHub({
    referrers: true,
    async front(listener, target) {
      const terminator = createTlsServer({ key, cert }, (socket) => splice(socket, connect(target)))
      const port = await listenOn(terminator)
      terminator.unref()
      const reached = await far.forward({ host: '127.0.0.1', port })
      await dropFirstSyn(reached.port)
      return `https://${names[listener]}:${reached.port}`
    },
  })
}

/** The first packet of each connection to the port is lost: TCP sends it again after a second. */
async function dropFirstSyn(port: number): Promise<void> {
  const syn = ['--append', 'INPUT', '--protocol', 'tcp', '--syn', '--dport', String(port)]
  const seen = ['--match', 'hashlimit', '--hashlimit-name', `syn${port}`, '--hashlimit-mode', 'srcip,srcport']
  const again = ['--hashlimit-above', '1/hour', '--hashlimit-burst', '1']
  await run('iptables', [...syn, ...seen, ...again, '--jump', 'ACCEPT'])
  await run('iptables', [...syn, '--jump', 'DROP'])
}

/** Gives this namespace's system the names of the far hosts, and a store of certificates with that of the house. */
async function pretendSystem(folder: string, authority: string): Promise<void> {
  const hosts = join(folder, 'hosts')
  await writeFile(hosts, `127.0.0.1 localhost ${Object.values(names).join(' ')} proxy.house.test\n`)
  await run('mount', ['--bind', hosts, '/etc/hosts'])
  const usual = await readFile('/etc/ssl/certs/ca-certificates.crt', 'utf8').catch(() => '')
  await run('mount', ['-t', 'tmpfs', 'tmpfs', '/etc/ssl/certs'])
  await writeFile('/etc/ssl/certs/ca-certificates.crt', `${usual}${authority}`)
}

type ForwardProxy = AsyncDisposable & {
  readonly url: string
  /** The same without a scheme, as many environments have it. */
  readonly host: string
  readonly targets: readonly string[]
}

/** A proxy that opens tunnels to whatever it is asked for. */
async function startForwardProxy(): Promise<ForwardProxy> {
  const targets: string[] = []
  const server = createTcpServer((client) => {
    client.once('data', (head: Buffer) => {
      const [, host = '', port = ''] = /^CONNECT ([^ :]+):(\d+) /.exec(head.toString()) ?? []
      targets.push(`${host}:${port}`)
      const onward = connect({ host, port: Number(port) })
      onward.once('connect', () => client.write('HTTP/1.1 200 Connection established\r\n\r\n'))
      splice(client, onward)
    })
  })
  const port = await listenOn(server)
  server.unref()
  const host = `proxy.house.test:${port}`
  return {
    ...{ url: `http://${host}`, host, targets },
    async [Symbol.asyncDispose]() {
      server.close()
    },
  }
}

/** What ends or breaks on one side does so on the other. */
function splice(one: Socket, other: Socket): void {
  one.pipe(other).pipe(one)
  for (const [socket, peer] of [
    [one, other],
    [other, one],
  ] as const) {
    socket.on('error', () => peer.resetAndDestroy())
    socket.on('close', () => peer.destroy())
  }
}

async function listenOn(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

async function handshake({ port }: URL): Promise<number> {
  const startedAt = performance.now()
  const socket = connect({ host: '127.0.0.1', port: Number(port) })
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
  socket.destroy()
  return Math.round(performance.now() - startedAt)
}

function sizeOf({ layers }: { readonly layers: readonly { readonly size: number }[] }): number {
  return layers.reduce((sum, { size }) => sum + size, 0)
}
