/**
 * base58btc (the Bitcoin alphabet), as used in DIDs and tickets. The inputs of this project are short (at most a few hundred bytes),
 * so the quadratic conversion is bounded by `maxBytes`.
 */
const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'
const VALUES: ReadonlyMap<string, number> = new Map([...ALPHABET].map((letter, value) => [letter, value]))

export function base58Encode(bytes: Uint8Array): string {
  let zeros = 0
  while (zeros < bytes.length && bytes[zeros] === 0) zeros++
  const digits: number[] = []
  for (let i = zeros; i < bytes.length; i++) {
    let carry = bytes[i] as number
    for (let j = 0; j < digits.length; j++) {
      carry += (digits[j] as number) * 256
      digits[j] = carry % 58
      carry = Math.floor(carry / 58)
    }
    while (carry > 0) {
      digits.push(carry % 58)
      carry = Math.floor(carry / 58)
    }
  }
  let text = '1'.repeat(zeros)
  for (let i = digits.length - 1; i >= 0; i--) text += ALPHABET[digits[i] as number]
  return text
}

/** Decodes canonical base58btc; `undefined` for a foreign letter or a result longer than `maxBytes` (checked before any work grows). */
export function base58Decode(text: string, maxBytes: number): Uint8Array | undefined {
  if (text.length > Math.ceil(maxBytes * 1.38) + 1) return undefined
  let zeros = 0
  while (zeros < text.length && text[zeros] === '1') zeros++
  const bytes: number[] = []
  for (let i = zeros; i < text.length; i++) {
    const value = VALUES.get(text[i] as string)
    if (value === undefined) return undefined
    let carry = value
    for (let j = 0; j < bytes.length; j++) {
      carry += (bytes[j] as number) * 58
      bytes[j] = carry & 0xff
      carry >>= 8
    }
    while (carry > 0) {
      bytes.push(carry & 0xff)
      carry >>= 8
    }
  }
  const length = zeros + bytes.length
  if (length > maxBytes) return undefined
  const out = new Uint8Array(length)
  for (let i = 0; i < bytes.length; i++) out[length - 1 - i] = bytes[i] as number
  return out
}
