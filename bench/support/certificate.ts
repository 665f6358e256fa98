import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'

/** A self-signed Ed25519 certificate as a TLS peer of ours would have: TBSCertificate of RFC 5280, section 4.1, written by hand. */
export function selfSigned(name: string): { key: string; cert: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  return { key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), cert: certificate(name, privateKey, publicKey) }
}

const ED25519 = der(0x30, Buffer.from('06032b6570', 'hex'))

function certificate(name: string, privateKey: KeyObject, publicKey: KeyObject): string {
  const subject = der(0x30, der(0x31, der(0x30, Buffer.from('0603550403', 'hex'), der(0x0c, Buffer.from(name)))))
  const time = (year: number): Buffer => der(0x17, Buffer.from(`${year % 100}0101000000Z`))
  const alternative = der(0x30, Buffer.from('0603551d11', 'hex'), der(0x04, der(0x30, der(0x82, Buffer.from(name)))))
  const year = new Date().getUTCFullYear()
  const body = der(
    0x30,
    der(0xa0, Buffer.from('020102', 'hex')),
    der(0x02, Buffer.of(1)),
    ED25519,
    subject,
    der(0x30, time(year - 1), time(year + 2)),
    subject,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, der(0x30, alternative)),
  )
  const signature = sign(null, body, privateKey)
  const whole = der(0x30, body, ED25519, der(0x03, Buffer.of(0), signature))
  const lines = whole.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}

function der(tag: number, ...parts: Buffer[]): Buffer {
  const content = Buffer.concat(parts)
  const length = content.length < 0x80 ? [content.length] : content.length < 0x100 ? [0x81, content.length] : [0x82, content.length >> 8, content.length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...length]), content])
}
