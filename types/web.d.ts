// age-encryption's declarations name types of the browser's `dom` library, which this project does not load.
import type { webcrypto } from 'node:crypto'

declare global {
  type CryptoKey = webcrypto.CryptoKey
  type CryptoKeyPair = webcrypto.CryptoKeyPair
  type BufferSource = ArrayBufferView | ArrayBuffer
  type AuthenticationExtensionsPRFValues = { first: BufferSource; second?: BufferSource }
}
