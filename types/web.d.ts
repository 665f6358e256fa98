// The declarations of age-encryption and of the Model Context Protocol's SDK name types of the browser's `dom` library, which this project does not load.
import type { webcrypto } from 'node:crypto'

declare global {
  type CryptoKey = webcrypto.CryptoKey
  type CryptoKeyPair = webcrypto.CryptoKeyPair
  type BufferSource = ArrayBufferView | ArrayBuffer
  type HeadersInit = NonNullable<ConstructorParameters<typeof Headers>[0]>
  type AuthenticationExtensionsPRFValues = { first: BufferSource; second?: BufferSource }
}
