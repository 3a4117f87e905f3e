/** The worker thread of `DocumentReader`: it answers each `ThreadRequest` by one `ThreadReply`. */
import { parentPort } from 'node:worker_threads'
import type { ThreadReply, ThreadRequest } from './document-reader.ts'
import { documentReaders } from './document-readers.ts'
import { RegistryError } from './error.ts'

const port = parentPort
if (!port) throw new TypeError('document-reader-thread.ts runs in a worker thread')

port.on('message', ({ kind, parameters }: ThreadRequest) => port.postMessage(reply(kind, parameters)))

function reply(kind: ThreadRequest['kind'], parameters: readonly unknown[]): ThreadReply {
  try {
    const read = documentReaders[kind] as (...parameters: readonly unknown[]) => unknown
    return { result: read(...parameters) }
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error
    const { code, message, status } = error
    return { refusal: { code, message, status } }
  }
}
