import { ChildServer } from '../../support/child-process.ts'
import { freePort } from '../../support/free-port.ts'

/** A registry that has all of the specification of 1.1, and keeps its content in memory. Dispose to stop it. */
export type OlaregProcess = AsyncDisposable & {
  /** Without a slash at the end. */
  readonly url: string
}

/** Starts olareg on a free port. */
export async function startOlareg(): Promise<OlaregProcess> {
  const port = await freePort()
  const parameters = ['serve', '--addr', '127.0.0.1', '--port', String(port), '--store-type', 'mem']
  const server = ChildServer.start('olareg', parameters)
  const url = `http://127.0.0.1:${port}`
  const answers = async () => (await fetch(`${url}/v2/`).catch(() => undefined))?.ok === true
  await server.ready(answers, 'answers')
  return { url, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
}
