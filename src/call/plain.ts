/** Of the data of an error, as JSON: characters, and values within values. */
const MAX_CHARACTERS = 16_384
const MAX_DEPTH = 32

/**
 * Whether data of an error can travel by every door: it has a form in JSON, of bounded length and depth, that every reader takes. Looks no further than that
 * length, however large the data is.
 */
export function travels(value: unknown): boolean {
  try {
    return new Walk().take(value, 0)
  } catch {
    // A getter, a proxy or a `toJSON` threw.
    return false
  }
}

class Walk {
  #left = MAX_CHARACTERS

  take(value: unknown, depth: number): boolean {
    switch (typeof value) {
      case 'string':
        return this.#spend(value.length + 2)
      case 'bigint':
        return false
      case 'object':
        return value === null ? this.#spend(4) : depth < MAX_DEPTH && this.#object(value, depth)
      default:
        return this.#spend(4)
    }
  }

  #object(value: object, depth: number): boolean {
    // Bytes would become one property each.
    if (ArrayBuffer.isView(value)) return false
    if ('toJSON' in value && typeof value.toJSON === 'function') return this.take(value.toJSON(), depth + 1)
    if (Array.isArray(value)) return this.#spend(2 + value.length) && value.every((part) => this.take(part, depth + 1))
    if (!this.#spend(2)) return false
    for (const key in value) {
      if (!Object.hasOwn(value, key)) continue
      // Readers refuse this name.
      if (key === '__proto__' || !this.#spend(key.length + 4)) return false
      if (!this.take((value as Readonly<Record<string, unknown>>)[key], depth + 1)) return false
    }
    return true
  }

  #spend(characters: number): boolean {
    this.#left -= characters
    return this.#left >= 0
  }
}
