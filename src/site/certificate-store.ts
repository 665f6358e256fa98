import { join } from 'node:path'
import { z } from 'zod'
import { utf8 } from '../core/bytes.ts'
import { isKithError } from '../core/errors.ts'
import { makeFolder } from '../core/make-folder.ts'
import { writeAtomic } from '../identity/atomic-file.ts'
import { readPrivateFile } from '../identity/private-file.ts'
import type { TlsCertificate } from '../transport/front/types.ts'

/**
 * # What a home keeps of its certificates
 *
 * ```text
 * HOME/certificates/      0700
 *   acme.pem              0600   a line with the URL of the authority, private key (PKCS #8), then the chain, leaf first
 *   acme.json             0600   {directory, names, issuedMs, failures, askedMs, nextMs}: who is asked for what, and when it may be asked again
 *   account.json          0600   the account key, sealed by the vault; or account.pem as it is, where the owner chose that
 * ```
 */
export interface AcmeState {
  /** URL of the authority that is asked. What is kept may still be from another one. */
  readonly directory: string
  /** The names as configured, in that order. */
  readonly names: readonly string[]
  /** When the last certificate was got; 0 when none was. */
  readonly issuedMs: number
  /** Attempts since, the one under way counted in: nobody knows how it ended when the process dies. */
  readonly failures: number
  /** When the last attempt began or failed; what lies before it was decided by another clock. */
  readonly askedMs: number
  /** Not before this time is the authority asked again. */
  readonly nextMs: number
}

export interface KeptCertificate extends TlsCertificate {
  /** URL of the authority that it is from. */
  readonly directory: string | undefined
}

export interface CertificateStore {
  readCertificate(): Promise<KeptCertificate | undefined>
  writeCertificate(certificate: { readonly directory: string; readonly key: string; readonly cert: string }): Promise<void>
  readState(): Promise<AcmeState | undefined>
  writeState(state: AcmeState): Promise<void>
  /** Bytes of a file of the account. */
  readAccount(form: 'sealed' | 'plain'): Promise<Uint8Array | undefined>
  writeAccount(form: 'sealed' | 'plain', bytes: Uint8Array): Promise<void>
}

const MAX_FILE_BYTES = 262_144
const PRIVATE_KEY = /-----BEGIN PRIVATE KEY-----[A-Za-z0-9+/=\s]{1,16384}?-----END PRIVATE KEY-----\n?/
const AUTHORITY = /^Authority: (https:\/\/\S{1,2048})\n/
const ACCOUNT_FILES = { sealed: 'account.json', plain: 'account.pem' } as const

const stateSchema: z.ZodType<AcmeState> = z.object({
  directory: z.string().max(2_048),
  names: z.array(z.string().max(253)).max(100),
  issuedMs: z.number().min(0),
  failures: z.int().min(0),
  askedMs: z.number().min(0).default(0),
  nextMs: z.number().min(0),
})

/** The store of a home; its directory is made with the first file. */
export function createCertificateStore(root: string): CertificateStore {
  const directory = join(root, 'certificates')
  const read = (name: string): Promise<Uint8Array | undefined> => readPrivateFile(join(directory, name), MAX_FILE_BYTES)
  const write = async (name: string, bytes: Uint8Array): Promise<void> => {
    makeFolder(directory)
    await writeAtomic(join(directory, name), bytes)
  }
  return {
    async readCertificate() {
      const bytes = await read('acme.pem')
      if (bytes === undefined) return undefined
      const text = Buffer.from(bytes).toString('latin1')
      const key = PRIVATE_KEY.exec(text)?.[0] ?? ''
      return { directory: AUTHORITY.exec(text)?.[1], key, cert: text.replace(key, '') }
    },
    writeCertificate: ({ directory: from, key, cert }) => write('acme.pem', utf8(`Authority: ${from}\n${key}${cert}`)),
    async readState() {
      const bytes = await read('acme.json').catch(damaged)
      return bytes === undefined ? undefined : parseState(Buffer.from(bytes).toString('utf8'))
    },
    writeState: (state) => write('acme.json', utf8(`${JSON.stringify(state)}\n`)),
    readAccount: (form) => read(ACCOUNT_FILES[form]),
    writeAccount: (form, bytes) => write(ACCOUNT_FILES[form], bytes),
  }
}

/** A state that cannot be read is forgotten: the worst is one question too many. */
function damaged(error: unknown): undefined {
  if (isKithError(error, 'KEYSTORE_DAMAGED')) return undefined
  throw error
}

function parseState(text: string): AcmeState | undefined {
  try {
    return stateSchema.safeParse(JSON.parse(text)).data
  } catch {
    return undefined
  }
}
