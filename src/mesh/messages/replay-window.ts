/**
 * Which numbers of a session were seen (PN-7, class 1): the highest, and a bit for each of the 1,024 up to it. What lies below cannot be told from a repetition and
 * is refused; what lies too far above is refused too, so that nobody uses up the numbers in one step. Numbers are whole and at most 2^53 - 1.
 *
 * ```text
 *        refused: old        one bit each              accepted, moves the window          refused: ahead
 *  1 ..................| max-1023 ........... max |  max+1 ................ max+65,536 |  .................
 * ```
 */
export const WINDOW_BITS = 1_024
export const MAX_AHEAD = 65_536

export type WindowVerdict = 'new' | 'replayed' | 'old' | 'invalid'

export class ReplayWindow {
  readonly #bits: Uint32Array = new Uint32Array(WINDOW_BITS / 32)
  #max = 0

  get max(): number {
    return this.#max
  }

  /** Changes nothing: the number is taken by `mark`, once all other checks are done. */
  judge(seq: number): WindowVerdict {
    if (seq < 1 || seq > this.#max + MAX_AHEAD) return 'invalid'
    if (seq > this.#max) return 'new'
    if (seq <= this.#max - WINDOW_BITS) return 'old'
    const slot = seq % WINDOW_BITS
    return ((this.#bits[slot >>> 5] as number) >>> (slot & 31)) & 1 ? 'replayed' : 'new'
  }

  /** For a number that was judged `new`. */
  mark(seq: number): void {
    if (seq > this.#max) {
      if (seq - this.#max >= WINDOW_BITS) this.#bits.fill(0)
      else for (let skipped = this.#max + 1; skipped < seq; skipped++) this.#clear(skipped % WINDOW_BITS)
      this.#max = seq
    }
    const slot = seq % WINDOW_BITS
    this.#bits[slot >>> 5] = (this.#bits[slot >>> 5] as number) | (1 << (slot & 31))
  }

  #clear(slot: number): void {
    this.#bits[slot >>> 5] = (this.#bits[slot >>> 5] as number) & ~(1 << (slot & 31))
  }
}
