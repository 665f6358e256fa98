import { createSecureContext } from 'node:tls'

let available: boolean | undefined

/** Whether the runtime's TLS library has the hybrid group X25519MLKEM768 (OpenSSL 3.5 has). */
export function hybridGroupAvailable(): boolean {
  available ??= test()
  return available
}

function test(): boolean {
  try {
    createSecureContext({ ecdhCurve: 'X25519MLKEM768' })
    return true
  } catch {
    return false
  }
}
