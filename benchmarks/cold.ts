import { setTimeout as sleep } from 'node:timers/promises'
import { type Benchmark, inTurn, type Setting } from './support/benchmark.ts'
import { BlobServer, repository } from './support/blob-server.ts'
import { type Measured, targetTable } from './support/cold-table.ts'
import type { Contender } from './support/contenders.ts'
import { syncFiles, touchMemory } from './support/disk-care.ts'
import { load } from './support/load.ts'
import type { ServerProcess } from './support/server-process.ts'
import { megabyte, showMegabytes, showMultiple } from './support/units.ts'

interface Case {
  /** For `--row`. */
  readonly row: string
  readonly title: string
  readonly clients: number
  readonly isTls?: boolean
  /** What the medians shall reach, as multiples of docker-registry's. */
  readonly cpu: { readonly atMost: number }
  readonly rate: { readonly atLeast: number }
}

interface Pull {
  /** Processor seconds of the server for a gigabyte of the blob, and of these in user mode. */
  readonly cpu: number
  readonly user: number
  /** Gigabytes of the blob a second. */
  readonly rate: number
  /** Bytes of memory: before the pull, and at most. */
  readonly rest: number
  readonly peak: number
  /** Bytes of the upstream, as a multiple of the blob. */
  readonly fetched: number
}

const cases: readonly Case[] = [
  { row: 'plain', title: 'one client', clients: 1, cpu: { atMost: 0.45 }, rate: { atLeast: 0.8 } },
  {
    row: 'tls',
    title: 'one client, upstream over TLS',
    clients: 1,
    isTls: true,
    cpu: { atMost: 0.65 },
    rate: { atLeast: 0.7 },
  },
  {
    row: 'eight',
    title: 'eight clients, one blob',
    clients: 8,
    cpu: { atMost: 0.3 },
    rate: { atLeast: 2.5 },
  },
]
const crowd = { row: 'crowd', clients: 100, atMostAboveRest: 60 * megabyte, atMost: 160 * megabyte }
const atRest = { row: 'rest', atMost: 100 * megabyte }
/** Milliseconds that a server is left alone before its memory is read. */
const restMs = 5000

export const coldRows = [...cases.map(({ row }) => row), crowd.row, atRest.row]

/** What a byte costs that nobody has yet: processor time, rate and memory, with an upstream that costs next to nothing. */
export const cold: Benchmark = {
  name: 'cold',
  title: 'What a cold byte costs',
  async run(setting) {
    const { isQuick, contenders } = setting
    const size = (isQuick ? 20 : 200) * megabyte
    const crowdSize = (isQuick ? 50 : 1000) * megabyte
    const runs = isQuick ? 1 : 5
    const isChosen = (row: string): boolean => setting.rows.length === 0 || setting.rows.includes(row)
    await using upstream = await BlobServer.start()
    const measured: Measured[] = []
    if (isChosen(atRest.row)) measured.push(await memoryAtRest(setting, upstream, isQuick ? 1 : 3))
    for (const one of cases.filter(({ row }) => isChosen(row))) {
      measured.push(...(await pullsOf(one, { size, runs }, setting, upstream)))
    }
    if (isChosen(crowd.row)) measured.push(...(await crowdOf(crowdSize, setting, upstream)))
    const blobs = runs === 1 ? 'One blob' : `${runs} blobs`
    const notes = [
      `${blobs} of ${size / megabyte} MB for each figure, in turn, each like no other, after one that is not counted and whose digest is compared: median, and lowest to highest.`,
      'GB are those of the blob, however many clients want it. Processor time is that of the server alone, until it has done nothing for a while: docker-registry fetches and stores every blob a second time behind the backs of its clients.',
      'Peak memory: the most that the server held during a pull.',
      `100 clients: one blob of ${crowdSize / megabyte} MB, one run, a new server. At rest: ${restMs / 1000} s after the server answered, Larder started by \`npm start\`.`,
    ]
    return targetTable(contenders, measured, notes, { isJudged: !isQuick })
  },
}

async function pullsOf(
  one: Case,
  { size, runs }: { size: number; runs: number },
  setting: Setting,
  upstream: BlobServer,
): Promise<Measured[]> {
  const { title, clients } = one
  await using servers = new AsyncDisposableStack()
  const started = new Map<string, ServerProcess>()
  for (const contender of setting.contenders) {
    setting.tell(`${title}: ${contender.name} starts`)
    const server = servers.use(await start(contender, upstream, one.isTls))
    started.set(contender.name, server)
    await pull(server, upstream, { clients, size, hashEvery: 1 }, setting.signal)
  }
  const results = await inTurn(setting, { label: title, runs }, ({ name }) => {
    const server = started.get(name)
    if (!server) throw new Error(`${name} has not been started`)
    return pull(server, upstream, { clients, size }, setting.signal)
  })
  const pick = pickFrom(results)
  return [
    {
      label: [title, 'CPU s/GB'],
      values: pick(({ cpu }) => cpu),
      show: showTwoDigits,
      target: { ofDockerRegistry: one.cpu },
    },
    { label: ['', 'in user mode'], values: pick(({ user }) => user), show: showTwoDigits },
    {
      label: ['', 'GB/s'],
      values: pick(({ rate }) => rate),
      show: showRate,
      target: { ofDockerRegistry: one.rate },
    },
    { label: ['', 'peak memory'], values: pick(({ peak }) => peak), show: showMegabytes },
    { label: ['', 'upstream bytes / blob'], values: pick(({ fetched }) => fetched), show: showMultiple },
  ]
}

async function crowdOf(size: number, setting: Setting, upstream: BlobServer): Promise<Measured[]> {
  const { clients, atMost, atMostAboveRest } = crowd
  const label = `${clients} clients, one blob of ${size / megabyte} MB`
  const results = await inTurn(setting, { label, runs: 1 }, async (contender) => {
    await using server = await start(contender, upstream)
    return await pull(server, upstream, { clients, size, hashEvery: clients }, setting.signal)
  })
  const pick = pickFrom(results)
  return [
    {
      label: [label, 'peak above rest'],
      values: pick(({ peak, rest }) => peak - rest),
      show: showMegabytes,
      target: { own: { atMost: atMostAboveRest } },
    },
    {
      label: ['', 'peak memory'],
      values: pick(({ peak }) => peak),
      show: showMegabytes,
      target: { own: { atMost } },
    },
    { label: ['', 'CPU s/GB'], values: pick(({ cpu }) => cpu), show: showTwoDigits },
    { label: ['', 'GB/s'], values: pick(({ rate }) => rate), show: showRate },
    { label: ['', 'upstream bytes / blob'], values: pick(({ fetched }) => fetched), show: showMultiple },
  ]
}

async function memoryAtRest(setting: Setting, upstream: BlobServer, runs: number): Promise<Measured> {
  const results = await inTurn(setting, { label: 'at rest', runs }, async (contender) => {
    await using server = await start(contender.byNpm ?? contender, upstream)
    await sleep(restMs, undefined, { signal: setting.signal })
    return await server.memory()
  })
  return {
    label: ['at rest', 'memory'],
    values: results,
    show: showMegabytes,
    target: { own: { atMost: atRest.atMost } },
  }
}

function start(
  contender: Pick<Contender, 'start'>,
  upstream: BlobServer,
  isTls = false,
): Promise<ServerProcess> {
  return isTls ? contender.start(upstream.tlsUrl, { ca: upstream.ca }) : contender.start(upstream.url)
}

async function pull(
  server: ServerProcess,
  upstream: BlobServer,
  { size, clients, hashEvery }: { size: number; clients: number; hashEvery?: number },
  signal: AbortSignal,
): Promise<Pull> {
  const blob = await upstream.add(size)
  // docker-registry needs the memory of two files.
  await touchMemory(server.directory, 2 * size)
  const before = await server.settled(signal)
  await server.resetPeak()
  const rest = await server.memory()
  const url = `${server.url}/v2/${repository}/blobs/${blob.digest}`
  const hashing = hashEvery === undefined ? {} : { hashEvery, digest: blob.digest }
  const { seconds, bytes, failures } = await load({ url, connections: clients, ...hashing }, signal)
  if (failures > 0 || bytes !== clients * size) {
    throw new Error(`${failures} of ${clients} clients did not get the blob`)
  }
  const after = await server.settled(signal)
  const fetched = (await upstream.bytesSent(blob)) / size
  const peak = await server.peakMemory()
  await syncFiles(server.directory)
  await upstream.remove(blob)
  const [gigabytes, user] = [size / 1e9, after.user - before.user]
  return {
    cpu: (user + after.system - before.system) / gigabytes,
    user: user / gigabytes,
    rate: gigabytes / seconds,
    rest,
    peak,
    fetched,
  }
}

function pickFrom(results: ReadonlyMap<string, readonly Pull[]>) {
  return (read: (pull: Pull) => number): Map<string, number[]> =>
    new Map([...results].map(([name, pulls]) => [name, pulls.map(read)]))
}

function showRate(value: number): string {
  return value.toFixed(value < 0.1 ? 3 : 2)
}

function showTwoDigits(value: number): string {
  return value.toFixed(2)
}
