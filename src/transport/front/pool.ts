import { Front, type FrontOptions } from '../front.ts'
import type { HostPort } from '../tcp/address.ts'

/** A front that is shared; it closes when nobody holds it any more. */
export interface FrontLease {
  readonly front: Front
  /** Idempotent. */
  release(): Promise<void>
}

/** The front doors of one process: whoever listens on the same address shares the port. */
export class FrontPool {
  readonly #options: FrontOptions
  readonly #open: Map<string, { readonly front: Promise<Front>; users: number }> = new Map()

  constructor(options: FrontOptions) {
    this.#options = options
  }

  /** The front at an address, opened when it is not yet; port 0 always opens a new one. @throws KithError `ADDRESS_IN_USE`, `ADDRESS_INVALID`. */
  async at(target: HostPort): Promise<FrontLease> {
    if (target.port === 0) {
      const front = await Front.open(target, this.#options)
      return this.#lease(keyOf(front.address), { front: Promise.resolve(front), users: 0 })
    }
    const key = keyOf(target)
    const entry = this.#open.get(key) ?? { front: Front.open(target, this.#options), users: 0 }
    return await this.#lease(key, entry)
  }

  async #lease(key: string, entry: { readonly front: Promise<Front>; users: number }): Promise<FrontLease> {
    this.#open.set(key, entry)
    entry.users++
    let held = true
    const release = async (): Promise<void> => {
      if (!held) return
      held = false
      entry.users--
      if (entry.users > 0) return
      if (this.#open.get(key) === entry) this.#open.delete(key)
      await entry.front.then((front) => front.close()).catch(() => {})
    }
    try {
      return { front: await entry.front, release }
    } catch (error) {
      await release()
      throw error
    }
  }
}

function keyOf({ host, port }: HostPort): string {
  return `${host} ${port}`
}
