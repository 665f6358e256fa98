/** Operations of which it is remembered that they take one input. */
const MAX_REMEMBERED = 4_096

/** Which callers know of which operations that they take one input, and not a stream: what one knows of it makes no difference to another. */
export class SingleInputs {
  readonly #callers: Map<string, Set<string>> = new Map()
  #size = 0

  has(path: string, caller: string): boolean {
    return this.#callers.get(path)?.has(caller) === true
  }

  add(path: string, caller: string): void {
    if (this.#size >= MAX_REMEMBERED || this.has(path, caller)) return
    const callers = this.#callers.get(path) ?? new Set()
    callers.add(caller)
    this.#callers.set(path, callers)
    this.#size += 1
  }

  clear(): void {
    this.#callers.clear()
    this.#size = 0
  }
}
