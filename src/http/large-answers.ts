import type { Share, Shares } from '../flow/shares.ts'
import { tooManyRequests } from '../oci/error.ts'
import type { RequestContext } from './request-context.ts'

/** Bytes; documents up to here need no room of their own: nearly all are some kilobytes. */
const smallBytes = 128 * 1024

export interface DocumentsOptions {
  /** The bytes of all large documents that are on their way to clients. */
  readonly documents: Shares
}

interface DocumentOptions<Document> {
  readonly ask: () => Promise<Document>
  readonly bytesOf: (document: Document) => number
  /** How it is had once more; must keep no bytes of the first answer. */
  readonly again: (first: Document) => () => Promise<Document>
}

interface Wait<Document> {
  readonly bytes: number
  readonly again: () => Promise<Document>
}

/**
 * A document that is answered with as a whole. Those that are large and wait for their readers share `room`, in bytes: who
 * finds it full lets his bytes go, waits, and asks once more. One that is not taken for a while, and for which others wait,
 * is broken off. Throws RegistryError TOOMANYREQUESTS (429) where there is no room in time, and as `ask`.
 */
export async function withRoom<Document>(
  options: DocumentOptions<Document>,
  context: RequestContext,
  room: Shares,
): Promise<Document> {
  const { document, wait } = await atOnce(options, context, room)
  if (!wait) return document
  const share = await room.take(context.clientKey, wait.bytes, { signal: context.signal })
  if (!share) {
    const message = 'as many large documents are on their way to clients as there is memory for: try again'
    throw tooManyRequests(message)
  }
  hold(context, share)
  return wait.again()
}

/** On its own, so that nothing holds the bytes of a document that has to wait. */
async function atOnce<Document>(
  { ask, bytesOf, again }: DocumentOptions<Document>,
  context: RequestContext,
  room: Shares,
): Promise<{ document: Document; wait?: undefined } | { document?: undefined; wait: Wait<Document> }> {
  const document = await ask()
  const bytes = Math.min(bytesOf(document), room.perClient)
  if (bytes <= smallBytes || context.method === 'HEAD') return { document }
  const share = room.tryTake(context.clientKey, bytes)
  if (!share) return { wait: { bytes, again: again(document) } }
  hold(context, share)
  return { document }
}

/** Until the answer has left, or its client. */
function hold(context: RequestContext, share: Share): void {
  const { response } = context
  const over = share.rest()
  over.addEventListener('abort', () => {
    context.breakOff(new Error('the client took a large document slowly, and others wait for the memory'))
    response.destroy()
  })
  if (response.closed) share[Symbol.dispose]()
  else response.once('close', () => share[Symbol.dispose]())
}
