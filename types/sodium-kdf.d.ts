// Functions of sodium-native that its types lack, as `core/crypto/kdf.ts` uses them.
import 'sodium-native'

declare module 'sodium-native' {
  export function crypto_hash_sha512_init(state: Uint8Array): void
  export function crypto_hash_sha512_update(state: Uint8Array, message: Uint8Array): void
  export function crypto_hash_sha512_final(state: Uint8Array, digest: Uint8Array): void
  export function extension_pbkdf2_sha512(target: Uint8Array, password: Uint8Array, salt: Uint8Array, rounds: number, length: number): void
}
