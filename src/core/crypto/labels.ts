import type { Signature } from '../bytes.ts'
import type { Signer } from '../signer.ts'
import { verify } from './ed25519.ts'
import { sha256 } from './hash.ts'

/**
 * Domain separation: everything native is signed and hashed behind a label that names its purpose (`icn/<purpose>/v<n>`, 8..31 ASCII bytes),
 * so that bytes made for one purpose never verify for another.
 *
 * ```text
 * labeled = varint(label length) || label || parts...       the first byte is 08..1f, which no other signed format starts with (PN-1)
 * ```
 */
const MIN_LABEL = 8
const MAX_LABEL = 31
const prefixes: Map<string, Uint8Array> = new Map()

/** The bytes that are signed or hashed. @throws TypeError for a label of another form. */
export function labeled(label: string, ...parts: readonly Uint8Array[]): Uint8Array {
  const prefix = labelPrefix(label)
  let length = prefix.length
  for (const part of parts) length += part.length
  const out = new Uint8Array(length)
  out.set(prefix)
  let at = prefix.length
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

/** SHA-256 of the labeled bytes: `H(label, x)` of protocol.md. */
export function hashLabeled(label: string, ...parts: readonly Uint8Array[]): Uint8Array {
  return sha256(labelPrefix(label), ...parts)
}

/** @throws KithError `SIGNER_REFUSED`, `SECRET_WIPED`. */
export function signLabeled(signer: Signer, label: string, ...parts: readonly Uint8Array[]): Signature {
  return signer.sign(labeled(label, ...parts))
}

export function verifyLabeled(key: Uint8Array, signature: Uint8Array, label: string, ...parts: readonly Uint8Array[]): boolean {
  return verify(key, labeled(label, ...parts), signature)
}

/** Labels are a closed set of constants in the source, so what is remembered stays small. */
function labelPrefix(label: string): Uint8Array {
  const known = prefixes.get(label)
  if (known !== undefined) return known
  if (label.length < MIN_LABEL || label.length > MAX_LABEL || !/^[\x21-\x7e]+$/.test(label)) throw new TypeError(`not a label of 8..31 ASCII bytes: ${label}`)
  const prefix = new Uint8Array(1 + label.length)
  prefix[0] = label.length
  for (let i = 0; i < label.length; i++) prefix[1 + i] = label.charCodeAt(i)
  if (prefixes.size < 256) prefixes.set(label, prefix)
  return prefix
}
