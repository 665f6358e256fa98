import { isAbsolute } from 'node:path'
import { KithError } from '../../core/errors.ts'
import { MAX_TOKEN_URI_BYTES } from '../keystore-codec.ts'

/**
 * # PKCS#11 URIs (RFC 7512)
 *
 * ```text
 * pkcs11:token=home;serial=9f31;object=kith;id=%01%02?module-path=/usr/lib/softhsm/libsofthsm2.so
 *        `--- which token -----' `-- which key ---'   `--- through which module ---------------'
 * ```
 *
 * Taken: token, manufacturer, serial, model, object, id, type, and of the query module-path. Refused: a PIN or its source, since an address is written down
 * and shown; slot numbers, since they change; and whatever else the RFC has, since leaving out a condition could mean another key.
 */
export interface TokenUri {
  readonly token?: string
  readonly manufacturer?: string
  readonly serial?: string
  readonly model?: string
  /** CKA_LABEL of the key. */
  readonly object?: string
  /** CKA_ID of the key. */
  readonly id?: Uint8Array
  /** Absolute path of the module. */
  readonly modulePath?: string
}

const TEXTS = ['token', 'manufacturer', 'serial', 'model', 'object'] as const
type TextName = (typeof TEXTS)[number]
/** Of a CKA_ID; tokens use 1 to 20 bytes. */
const MAX_ID_BYTES = 64

/** @throws KithError `USAGE`. */
export function parseTokenUri(text: string): TokenUri {
  if (Buffer.byteLength(text) > MAX_TOKEN_URI_BYTES) throw invalid(`it is longer than ${MAX_TOKEN_URI_BYTES} bytes`)
  if (!/^pkcs11:[\x21-\x7e]*$/.test(text)) throw invalid('it does not begin with pkcs11: or has characters that must be escaped')
  const [path = '', query, ...more] = text.slice('pkcs11:'.length).split('?')
  if (more.length > 0) throw invalid('it has more than one question mark')
  const uri: { -readonly [K in keyof TokenUri]: TokenUri[K] } = {}
  for (const [name, value] of attributes(path, ';')) {
    if (TEXTS.includes(name as TextName)) uri[name as TextName] = asText(name, value)
    else if (name === 'id') uri.id = asId(value)
    else if (name !== 'type' || value !== 'private') throw invalid(`${name} is not taken here`)
  }
  for (const [name, value] of query === undefined ? [] : attributes(query, '&')) {
    if (name === 'pin-value' || name === 'pin-source') throw invalid('a PIN or its source does not belong into an address')
    if (name !== 'module-path') throw invalid(`${name} is not taken here`)
    uri.modulePath = asText(name, value)
    if (!isAbsolute(uri.modulePath)) throw invalid('module-path must be absolute')
  }
  return uri
}

/** The one spelling used here: attributes in the order of the picture, escaped where the RFC says so. @throws KithError `USAGE` when it gets too long. */
export function formatTokenUri(uri: TokenUri): string {
  const path = TEXTS.flatMap((name) => (uri[name] === undefined ? [] : [`${name}=${escaped(Buffer.from(uri[name]), /[A-Za-z0-9._~:@!$'()*+,=-]/)}`]))
  if (uri.id !== undefined) path.push(`id=${escaped(uri.id)}`)
  const query = uri.modulePath === undefined ? '' : `?module-path=${escaped(Buffer.from(uri.modulePath), /[A-Za-z0-9._~/-]/)}`
  const text = `pkcs11:${path.join(';')}${query}`
  if (text.length > MAX_TOKEN_URI_BYTES) throw invalid(`it would be longer than ${MAX_TOKEN_URI_BYTES} bytes`)
  return text
}

function* attributes(text: string, separator: string): Generator<[string, string]> {
  const seen = new Set<string>()
  for (const part of text === '' ? [] : text.split(separator)) {
    const at = part.indexOf('=')
    const name = part.slice(0, at)
    if (at < 1 || !/^[a-z0-9_-]+$/.test(name)) throw invalid('an attribute is written NAME=VALUE')
    if (seen.has(name)) throw invalid(`${name} is there twice`)
    seen.add(name)
    yield [name, part.slice(at + 1)]
  }
}

function asText(name: string, value: string): string {
  const bytes = unescaped(value)
  const text = bytes.toString('utf8')
  if (text === '' || !Buffer.from(text).equals(bytes) || /\p{Cc}/u.test(text)) throw invalid(`${name} is empty or no text`)
  return text
}

function asId(value: string): Uint8Array {
  const bytes = unescaped(value)
  if (bytes.length < 1 || bytes.length > MAX_ID_BYTES) throw invalid(`an id has 1 to ${MAX_ID_BYTES} bytes`)
  return Uint8Array.from(bytes)
}

function unescaped(value: string): Buffer {
  if (/%(?![0-9A-Fa-f]{2})/.test(value)) throw invalid('a percent sign is followed by two hexadecimal digits')
  return Buffer.from(
    value.replaceAll(/%([0-9A-Fa-f]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16))),
    'latin1',
  )
}

function escaped(bytes: Uint8Array, plain?: RegExp): string {
  return Array.from(bytes, (byte) => {
    const letter = String.fromCharCode(byte)
    return plain?.test(letter) === true ? letter : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }).join('')
}

function invalid(reason: string): KithError {
  return new KithError('USAGE', `This is not an address of a key in a token: ${reason}.`, {
    details: { reason },
    next: 'kith id hardware init --help',
  })
}
