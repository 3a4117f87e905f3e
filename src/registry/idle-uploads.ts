import type { Logger } from 'pino'
import { bestEffort } from '../flow/best-effort.ts'
import { tellSeldom } from '../flow/seldom.ts'
import type { UploadSession } from './upload-session.ts'

/** Milliseconds for which the file of an upload stays open between two requests. */
const closeAfterMs = 1000
const maximumOpen = 32

/**
 * The uploads whose file is open although no request writes to it: for a moment, since the next piece mostly comes at
 * once, and only so many, since descriptors are needed for pulls. The longest idle one goes first.
 */
export class IdleUploads implements Disposable {
  readonly #logger: Logger
  readonly #open = new Map<UploadSession, NodeJS.Timeout>()

  constructor(logger: Logger) {
    this.#logger = logger
  }

  /** A request begins. */
  wake(session: UploadSession): void {
    clearTimeout(this.#open.get(session))
    this.#open.delete(session)
  }

  /** A request has ended. */
  rest(session: UploadSession): void {
    this.wake(session)
    if (!session.isOpen || !session.isIdle) return
    const timer = setTimeout(() => this.#close(session), closeAfterMs)
    timer.unref()
    this.#open.set(session, timer)
    const [longest] = this.#open.keys()
    if (longest && this.#open.size > maximumOpen) this.#close(longest)
  }

  /** Closes the files of all of them: somebody else needs descriptors now. */
  closeAll(): void {
    for (const session of [...this.#open.keys()]) this.#close(session)
  }

  [Symbol.dispose](): void {
    for (const session of [...this.#open.keys()]) this.wake(session)
  }

  #close(session: UploadSession): void {
    this.wake(session)
    // Another request that came meanwhile ends later than this.
    if (!session.isIdle) return
    const closing = session.putAside()
    void bestEffort(closing, (err) =>
      tellSeldom(
        this.#logger,
        'warn',
        { err, upload: session.id },
        'the file of an upload could not be closed',
      ),
    )
  }
}
