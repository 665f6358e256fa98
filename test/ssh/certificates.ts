import { keyBlob } from '../../src/access/ssh-wire.ts'
import { concat } from '../../src/core/bytes.ts'
import type { Signer } from '../../src/core/signer.ts'
import { CERTIFICATE_ALGORITHM, KEY_ALGORITHM, sshString } from '../../src/ssh/wire.ts'

export interface CertificateParts {
  readonly subject: Uint8Array
  readonly authority: Signer
  readonly type: number
  readonly principals: readonly string[]
  readonly validAfter?: bigint
  readonly validBefore?: bigint
  readonly critical?: readonly (readonly [string, string])[]
  readonly extensions?: readonly string[]
}

/** A certificate as `ssh-keygen -s` makes it. */
export function certificate(parts: CertificateParts): Uint8Array {
  const { subject, authority, type, principals, validAfter = 0n, validBefore = 0xffff_ffff_ffff_ffffn, critical = [], extensions = [] } = parts
  const options = concat(...critical.flatMap(([name, value]) => [sshString(name), sshString(sshString(value))]))
  const signed = concat(
    sshString(CERTIFICATE_ALGORITHM),
    sshString(new Uint8Array(32)),
    sshString(subject),
    number(1n, 8),
    number(BigInt(type), 4),
    sshString('id'),
    sshString(concat(...principals.map((name) => sshString(name)))),
    number(validAfter, 8),
    number(validBefore, 8),
    sshString(options),
    sshString(concat(...extensions.flatMap((name) => [sshString(name), sshString('')]))),
    sshString(''),
    sshString(keyBlob(authority.publicKey)),
  )
  return concat(signed, sshString(concat(sshString(KEY_ALGORITHM), sshString(authority.sign(signed)))))
}

function number(value: bigint, bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, at) => Number((value >> BigInt(8 * (bytes - 1 - at))) & 0xffn))
}
