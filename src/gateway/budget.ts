import { KithError } from '../core/errors.ts'
import { type GatewayLimits, MAX_BUFFERED_BYTES } from './limits.ts'

/** Requests being answered, by address and by caller, and what their bodies take. Entries go when their count is nothing, so the maps are as large as what runs. */
export class Budget {
  readonly #limits: GatewayLimits
  readonly #addresses: Map<string, number> = new Map()
  readonly #callers: Map<string, number> = new Map()
  readonly #streams: Map<string, number> = new Map()
  #total = 0
  #buffered = 0

  constructor(limits: GatewayLimits) {
    this.#limits = limits
  }

  /** Requests being answered. */
  get total(): number {
    return this.#total
  }

  /** @throws KithError `GATEWAY_BUSY`. */
  enter(address: string): void {
    if (this.#total >= this.#limits.inFlight) throw busy('The gateway answers as many requests as it may.')
    take(this.#addresses, address, this.#limits.inFlightPerAddress, 'As many requests as may be are being answered for this address.')
    this.#total += 1
  }

  leave(address: string): void {
    give(this.#addresses, address)
    this.#total -= 1
  }

  /** @throws KithError `GATEWAY_BUSY`. */
  enterCaller(id: string): void {
    take(this.#callers, id, this.#limits.inFlightPerCaller, 'As many requests as may be are being answered for this caller.')
  }

  leaveCaller(id: string): void {
    give(this.#callers, id)
  }

  /** @throws KithError `GATEWAY_BUSY`. */
  enterStream(id: string): void {
    take(this.#streams, id, this.#limits.streamsPerCaller, 'As many event streams as may be are open for this caller.')
  }

  leaveStream(id: string): void {
    give(this.#streams, id)
  }

  /** Room for a part of a body; a `GATEWAY_BUSY` where there is none. */
  buffer(bytes: number): KithError | undefined {
    if (this.#buffered + bytes > MAX_BUFFERED_BYTES) return busy('The gateway reads as many bodies as it can hold.')
    this.#buffered += bytes
    return undefined
  }

  unbuffer(bytes: number): void {
    this.#buffered -= bytes
  }
}

function take(counts: Map<string, number>, key: string, most: number, message: string): void {
  const count = counts.get(key) ?? 0
  if (count >= most) throw busy(message)
  counts.set(key, count + 1)
}

function give(counts: Map<string, number>, key: string): void {
  const count = (counts.get(key) ?? 1) - 1
  if (count <= 0) counts.delete(key)
  else counts.set(key, count)
}

function busy(message: string): KithError {
  return new KithError('GATEWAY_BUSY', message)
}
