const CR = 13
const LF = 10
const SPACE = 32

type State = 'start' | 'name' | 'before-value' | 'value' | 'almost-done' | 'end'

/**
 * Header lines, one byte at a time, as nginx (1.22) takes them: lines without a colon have an empty value, names with other characters than letters, digits and
 * "-" are passed over, control characters and spaces in names are refused. `feed` gives `'line'` after each line, `'done'` after the empty one.
 */
export class HeaderReader {
  /** In order, names in lower case. */
  readonly lines: { readonly name: string; readonly value: string }[] = []
  #state: State = 'start'
  #name = ''
  #odd = false
  #value: number[] = []

  /** The one that has just ended; undefined when its name was odd. */
  get last(): { readonly name: string; readonly value: string } | undefined {
    return this.#odd ? undefined : this.lines.at(-1)
  }

  feed(byte: number): 'more' | 'line' | 'done' | 400 {
    switch (this.#state) {
      case 'start':
        if (byte === CR) return this.#go('end')
        if (byte === LF) return 'done'
        this.#name = ''
        this.#value = []
        this.#odd = false
        this.#state = 'name'
        return byte === 0x3a ? 400 : this.#inName(byte)
      case 'name':
        if (byte === 0x3a) return this.#go('before-value')
        if (byte === CR) return this.#go('almost-done')
        return byte === LF ? this.#finish() : this.#inName(byte)
      case 'before-value':
        if (byte === SPACE) return 'more'
        this.#state = 'value'
        return this.#inValue(byte)
      case 'value':
        return this.#inValue(byte)
      case 'almost-done':
        if (byte === CR) return 'more'
        return byte === LF ? this.#finish() : 400
      case 'end':
        return byte === LF ? 'done' : 400
    }
  }

  #go(state: State): 'more' {
    this.#state = state
    return 'more'
  }

  #inName(byte: number): 'more' | 400 {
    if (byte <= SPACE || byte === 0x7f) return 400
    const letter = String.fromCharCode(byte)
    if (!/[A-Za-z0-9-]/.test(letter)) this.#odd = true
    this.#name += letter
    return 'more'
  }

  #inValue(byte: number): 'more' | 'line' | 400 {
    if (byte === CR) return this.#go('almost-done')
    if (byte === LF) return this.#finish()
    if (byte === 0) return 400
    this.#value.push(byte)
    return 'more'
  }

  #finish(): 'line' {
    this.#state = 'start'
    while (this.#value.at(-1) === SPACE) this.#value.pop()
    if (!this.#odd) this.lines.push({ name: this.#name.toLowerCase(), value: Buffer.from(this.#value).toString('latin1') })
    return 'line'
  }
}
