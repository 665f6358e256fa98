import { generateKeyPairSync, sign } from 'node:crypto'
import { pem } from './tls-support.ts'

/** An Ed25519 certificate with an extension of 40,000 bytes. */
export function hugeCertificate(): { cert: string; key: string } {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const ed25519 = Buffer.from('300506032b6570', 'hex')
  const name = Buffer.of(0x30, 0)
  const validity = der(0x30, der(0x17, Buffer.from('250101000000Z')), der(0x17, Buffer.from('490101000000Z')))
  const extension = der(0x30, Buffer.from('06032a0304', 'hex'), der(0x04, Buffer.alloc(40_000)))
  const tbs = der(
    0x30,
    Buffer.from('a003020102020107', 'hex'),
    ed25519,
    name,
    validity,
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, der(0x30, extension)),
  )
  const certificate = der(0x30, tbs, ed25519, der(0x03, Buffer.of(0), sign(null, tbs, privateKey)))
  return { cert: pem('CERTIFICATE', certificate), key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() }
}

function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts)
  const head = body.length < 0x80 ? [tag, body.length] : [tag, 0x82, body.length >> 8, body.length & 255]
  return Buffer.concat([Buffer.from(head), body])
}
