/**
 * # The request line, one byte at a time
 *
 * nginx (1.22) says what is wrong with a request at the first byte that is, without waiting for the end of a line, and that can be seen from outside. So its
 * states are followed here one by one.
 *
 * ```text
 * METHOD SP+ ( "/"... | scheme "://" host [":" port] [path] ) [ SP+ "HTTP/1." digits SP* ] CR? LF          METHOD is A-Z, "_" and "-"
 * ```
 *
 * Empty lines before it are passed over; without a version it is HTTP/0.9, which only GET has.
 */
export interface RequestLine {
  readonly method: string
  /** Path and query as sent, for absolute requests without scheme and host; "/" when there is none. */
  readonly target: string
  /** Of an absolute request. */
  readonly host: string | undefined
  /** 9 for HTTP/0.9, 1000 for 1.0, 1001 for 1.1 and so on. */
  readonly version: number
}

type State =
  | 'start'
  | 'method'
  | 'before-target'
  | 'scheme'
  | 'scheme-slash'
  | 'scheme-slash-slash'
  | 'host'
  | 'host-literal'
  | 'host-end'
  | 'port'
  | 'target'
  | 'after-target'
  | 'protocol'
  | 'first-major'
  | 'major'
  | 'first-minor'
  | 'minor'
  | 'after-minor'
  | 'almost-done'

const CR = 13
const LF = 10
const SPACE = 32
const PROTOCOL = 'HTTP/'

/** Reads one line. `feed` gives the status to refuse with, `'more'`, or `'done'`. */
export class RequestLineReader {
  #state: State = 'start'
  #method = ''
  #target: number[] = []
  #host: number[] = []
  #absolute = false
  #protocol = 0
  #major = 0
  #minor = 0
  #versioned = false
  #nine = false

  /** Whether nothing but empty lines has come. */
  get untouched(): boolean {
    return this.#state === 'start'
  }

  get methodRead(): boolean {
    return this.#state !== 'start' && this.#state !== 'method'
  }

  /** Whether the line ended without a version. */
  get isNine(): boolean {
    return this.#nine
  }

  get line(): RequestLine {
    const target = Buffer.from(this.#target).toString('latin1')
    return {
      method: this.#method,
      target: target === '' ? '/' : target,
      host: this.#absolute ? Buffer.from(this.#host).toString('latin1') : undefined,
      version: this.#versioned ? this.#major * 1000 + this.#minor : 9,
    }
  }

  feed(byte: number): 'more' | 'done' | 400 | 505 {
    switch (this.#state) {
      case 'start':
        if (byte === CR || byte === LF) return 'more'
        this.#state = 'method'
        return this.#inMethod(byte)
      case 'method':
        if (byte !== SPACE) return this.#inMethod(byte)
        return this.#go('before-target')
      case 'before-target':
        return this.#beforeTarget(byte)
      case 'scheme':
        if (byte === 0x3a) return this.#go('scheme-slash')
        return isLetter(byte) || isDigit(byte) || byte === 0x2b || byte === 0x2d || byte === 0x2e ? 'more' : 400
      case 'scheme-slash':
        return byte === 0x2f ? this.#go('scheme-slash-slash') : 400
      case 'scheme-slash-slash':
        this.#absolute = true
        return byte === 0x2f ? this.#go('host') : 400
      case 'host':
        if (byte === 0x5b && this.#host.length === 0) {
          this.#host.push(byte)
          return this.#go('host-literal')
        }
        if (!isLetter(byte) && !isDigit(byte) && byte !== 0x2e && byte !== 0x2d) return this.#hostEnds(byte)
        this.#host.push(byte)
        return 'more'
      case 'host-literal':
        if (!isLetter(byte) && !isDigit(byte) && !":]-._~!$&'()*+,;=".includes(String.fromCharCode(byte))) return 400
        this.#host.push(byte)
        return byte === 0x5d ? this.#go('host-end') : 'more'
      case 'host-end':
        return this.#hostEnds(byte)
      case 'port':
        if (isDigit(byte)) return 'more'
        return byte === 0x3a ? 400 : this.#hostEnds(byte)
      case 'target':
        return this.#inTarget(byte)
      case 'after-target':
        if (byte === SPACE) return 'more'
        if (byte === CR) return this.#go('almost-done')
        if (byte === LF) return this.#finish()
        if (byte !== 0x48) return 400
        this.#protocol = 1
        return this.#go('protocol')
      case 'protocol':
        if (byte !== PROTOCOL.charCodeAt(this.#protocol)) return 400
        this.#protocol++
        return this.#protocol === PROTOCOL.length ? this.#go('first-major') : 'more'
      default:
        return this.#inVersion(byte)
    }
  }

  #go(state: State): 'more' {
    this.#state = state
    return 'more'
  }

  #inMethod(byte: number): 'more' | 400 {
    if ((byte < 0x41 || byte > 0x5a) && byte !== 0x5f && byte !== 0x2d) return 400
    this.#method += String.fromCharCode(byte)
    return 'more'
  }

  #beforeTarget(byte: number): 'more' | 400 {
    if (byte === 0x2f) {
      this.#target.push(byte)
      return this.#go('target')
    }
    if (isLetter(byte)) return this.#go('scheme')
    return byte === SPACE ? 'more' : 400
  }

  #hostEnds(byte: number): 'more' | 400 {
    if (byte === 0x3a) return this.#go('port')
    if (byte === SPACE) return this.#go('after-target')
    if (byte !== 0x2f && byte !== 0x3f) return 400
    if (byte === 0x3f) this.#target.push(0x2f)
    this.#target.push(byte)
    return this.#go('target')
  }

  #inTarget(byte: number): 'more' | 'done' | 400 {
    if (byte === SPACE) return this.#go('after-target')
    if (byte === CR) return this.#go('almost-done')
    if (byte === LF) return this.#finish()
    if (byte < SPACE || byte === 0x7f) return 400
    this.#target.push(byte)
    return 'more'
  }

  #inVersion(byte: number): 'more' | 'done' | 400 | 505 {
    switch (this.#state) {
      case 'first-major':
        if (byte < 0x31 || byte > 0x39) return 400
        this.#major = byte - 0x30
        this.#state = 'major'
        return this.#major > 1 ? 505 : 'more'
      case 'major':
        if (byte === 0x2e) return this.#go('first-minor')
        if (!isDigit(byte)) return 400
        return 505
      case 'first-minor':
        if (!isDigit(byte)) return 400
        this.#minor = byte - 0x30
        this.#versioned = true
        return this.#go('minor')
      case 'minor':
        if (byte === SPACE) return this.#go('after-minor')
        if (isDigit(byte)) {
          if (this.#minor > 99) return 400
          this.#minor = this.#minor * 10 + byte - 0x30
          return 'more'
        }
        return this.#lineEnds(byte)
      case 'after-minor':
        return byte === SPACE ? 'more' : this.#lineEnds(byte)
      default:
        return byte === LF ? this.#finish() : 400
    }
  }

  #lineEnds(byte: number): 'more' | 'done' | 400 {
    if (byte === CR) return this.#go('almost-done')
    return byte === LF ? this.#finish() : 400
  }

  #finish(): 'done' | 400 {
    this.#nine = !this.#versioned
    return this.#nine && this.#method !== 'GET' ? 400 : 'done'
  }
}

function isLetter(byte: number): boolean {
  const lower = byte | 0x20
  return lower >= 0x61 && lower <= 0x7a
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39
}
