import sodium from 'sodium-native'

/**
 * Lets libsodium check each (key, message, signature) once and remembers that it was right: only what is the same to the last byte is answered from memory.
 * @returns the way to undo it, and how many checks were made.
 */
export function rememberChecks(): { readonly checks: () => number; undo(): void } {
  const original = sodium.crypto_sign_verify_detached
  const right = new Map<string, { readonly key: Buffer; readonly message: Buffer }>()
  let checks = 0
  sodium.crypto_sign_verify_detached = (signature, message, key) => {
    const name = Buffer.from(signature.buffer, signature.byteOffset, signature.byteLength).toString('latin1')
    const known = right.get(name)
    if (known?.message.equals(message) && known.key.equals(key)) return true
    checks++
    if (!original.call(sodium, signature, message, key)) return false
    right.set(name, { key: Buffer.from(key), message: Buffer.from(message) })
    if (right.size > 20_000)
      for (const oldest of right.keys()) {
        right.delete(oldest)
        break
      }
    return true
  }
  return {
    checks: () => checks,
    undo: () => {
      sodium.crypto_sign_verify_detached = original
    },
  }
}
