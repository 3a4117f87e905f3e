import type { Socket } from 'node:net'
import { Pulse } from '../../flow/pulse.ts'

/** A connection that was begun before anybody needed it. */
interface Coming {
  readonly key: string
  readonly pulse: Pulse
  readonly socket: Promise<Socket>
  isTaken: boolean
}

/** Connections on their way that nobody has asked for yet. Whoever needs one does not begin another. */
export class ComingConnections {
  /** In the order in which they were begun. */
  readonly #coming = new Set<Coming>()

  /** How many with that key there are for whoever needs one. */
  count(key: string): number {
    let count = 0
    for (const coming of this.#coming) if (coming.key === key) count += 1
    return count
  }

  /** Begins one by `open`; `onReady` gets it where nobody has needed it by then. That it fails, nobody hears. */
  begin(key: string, open: (pulse: Pulse) => Promise<Socket>, onReady: (socket: Socket) => void): void {
    const pulse = new Pulse()
    const socket = pulse.run(() => open(pulse))
    const coming: Coming = { key, pulse, socket, isTaken: false }
    this.#coming.add(coming)
    socket.then(
      (ready) => {
        const isWanted = this.#coming.delete(coming)
        if (isWanted) onReady(ready)
        else if (!coming.isTaken) ready.destroy()
      },
      () => this.#coming.delete(coming),
    )
  }

  /** The one that was begun first, where there is one: rejects with what it fails with. */
  take(key: string): Promise<Socket> | undefined {
    const first = [...this.#coming].find((coming) => coming.key === key)
    if (!first) return undefined
    this.#coming.delete(first)
    first.isTaken = true
    const stopBeating = first.pulse.leadCurrent()
    return first.socket.finally(stopBeating)
  }

  /** Nobody is to have those with such a key. */
  drop(isDropped: (key: string) => boolean): void {
    for (const coming of this.#coming) if (isDropped(coming.key)) this.#coming.delete(coming)
  }
}
