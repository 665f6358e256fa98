/**
 * Payload bytes of both directions. Streams are not ordered among each other, so CLOSE says how many bytes were sent and is answered when they have come.
 * Directions that were cut do not count: their bytes may never arrive.
 */
export class Totals {
  /** Everything, for `status`. */
  bytesIn = 0
  bytesOut = 0
  #sent = 0
  #received = 0
  #expected = Number.POSITIVE_INFINITY

  get sent(): number {
    return this.#sent
  }

  addSent(length: number): void {
    this.#sent += length
    this.bytesOut += length
  }

  addReceived(length: number): void {
    this.#received += length
    this.bytesIn += length
  }

  uncount(sent: number, received: number): void {
    this.#sent -= sent
    this.#received -= received
  }

  expect(bytes: number): void {
    this.#expected = bytes
  }

  /** True once, when everything expected has come. */
  takeComplete(): boolean {
    if (this.#received < this.#expected) return false
    this.#expected = Number.POSITIVE_INFINITY
    return true
  }
}
