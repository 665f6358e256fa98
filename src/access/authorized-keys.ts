import type { PublicKey } from '../core/bytes.ts'
import { isKithError, KithError } from '../core/errors.ts'
import { type LineOptions, LineRefused, optionsEnd, parseLineOptions } from './ssh-options.ts'
import { ED25519, fingerprint, parsePublicKeyLine } from './ssh-wire.ts'

/** One line that counts: a key that logs in, or one that signs certificates; never both. */
export interface AuthorizedLine {
  readonly key: PublicKey
  readonly fingerprint: `SHA256:${string}`
  readonly options: LineOptions
  readonly comment: string
  /** `FILE:LINE`, for the owner. */
  readonly place: string
}

/** A line that is well written and does not count, with the reason. */
export interface RefusedLine {
  readonly place: string
  readonly reason: string
}

export interface AuthorizedKeys {
  readonly lines: readonly AuthorizedLine[]
  readonly refused: readonly RefusedLine[]
}

const MAX_LINES = 10_000
const MAX_LINE = 16_384
const NO_OPTIONS: LineOptions = { certAuthority: false, principals: undefined, from: undefined, expiresMs: undefined, portForwarding: true }
/** What begins the key where no options stand before it. */
const KEY_TYPE = /^(ssh-(ed25519|rsa|dss)|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com|[a-z0-9-]+-cert-v0[01]@openssh\.com)$/

/**
 * Reads an `authorized_keys` file. A line that is malformed fails the whole file, with its place: a key that the owner meant to limit must not be left over, and one
 * that should log in not be missing without a word.
 * @throws KithError `ACCESS_INVALID` with details.file, details.line.
 */
export function parseAuthorizedKeys(text: string, file: string): AuthorizedKeys {
  const lines: AuthorizedLine[] = []
  const refused: RefusedLine[] = []
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.replace(/\r$/, '').trim()
    if (line === '' || line.startsWith('#')) continue
    const place = `${file}:${index + 1}`
    if (index >= MAX_LINES) throw badLine(file, index + 1, `a file has at most ${MAX_LINES} lines`)
    try {
      const parsed = parseLine(line, place)
      if (lines.some((other) => other.fingerprint === parsed.fingerprint && other.options.certAuthority === parsed.options.certAuthority)) {
        throw new TypeError('the same key stands in this file twice, and only one of the lines can count')
      }
      lines.push(parsed)
    } catch (error) {
      if (error instanceof LineRefused) refused.push({ place, reason: error.message })
      else if (error instanceof TypeError) throw badLine(file, index + 1, error.message, error)
      else if (isKithError(error, 'SSH_FORMAT')) throw badLine(file, index + 1, String(error.details?.reason), error)
      else throw error
    }
  }
  return { lines, refused }
}

/** @throws TypeError, LineRefused, KithError `SSH_FORMAT`. */
function parseLine(line: string, place: string): AuthorizedLine {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  if (line.length > MAX_LINE || /[\u0000-\u0008\u000b-\u001f\u007f]/.test(line)) throw new TypeError('the line is too long, or not text')
  const first = line.slice(0, optionsEnd(line))
  const plain = KEY_TYPE.test(first)
  const options = plain ? NO_OPTIONS : parseLineOptions(first)
  const rest = plain ? line : line.slice(first.length).trim()
  const [type = '', , ...comment] = rest.split(/[ \t]+/)
  if (type === '') throw new TypeError('there is no key in this line')
  if (!KEY_TYPE.test(type)) throw new TypeError(`${JSON.stringify(type.slice(0, 40))} is no kind of key`)
  if (type !== ED25519) throw new LineRefused(`only ${ED25519} keys count here, and this is ${type}`)
  const key = parsePublicKeyLine(rest)
  return { key, fingerprint: fingerprint(key), options, comment: comment.join(' ').slice(0, 200), place }
}

export function badLine(file: string, line: number, reason: string, cause?: unknown): KithError {
  return new KithError('ACCESS_INVALID', `Line ${line} of ${file} is not valid: ${reason}.`, {
    details: { file, line, reason },
    // What was added by command stands in no file.
    next: file.startsWith('/') ? `sed -n ${line}p ${file}` : 'kith access ssh list',
    cause,
  })
}
