import { KithError } from '../../core/errors.ts'
import { readNamedFile } from '../../identity/private-file.ts'
import { type CertificateFile, readCertificate } from '../../site/certificate-file.ts'
import type { Config } from '../config/settings.ts'

const MAX_FILE_BYTES = 262_144
/** Nobody else may read a key or change it; a group may read it, as Debian's ssl-cert does. */
const OTHERS = 0o027

/** The certificate that the owner put into files; undefined without. @throws KithError `CERTIFICATE_INVALID`, `FILE_MISSING`, `HOME_UNSAFE`. */
export async function readCertificateFiles(config: Config, now: number): Promise<CertificateFile | undefined> {
  const [file, keyFile] = [config['certificate.file'], config['certificate.key_file']]
  if (file === '' && keyFile === '') return undefined
  if (file === '' || keyFile === '') {
    const [set, unset] = file === '' ? ['certificate.key_file', 'certificate.file'] : ['certificate.file', 'certificate.key_file']
    throw new KithError('CERTIFICATE_INVALID', `${set} is set and ${unset} is not.`, { details: { reason: 'incomplete' }, next: 'kith config show' })
  }
  return readCertificate({ cert: await readText(file), key: await readText(keyFile, { secret: true }), now })
}

/** The root of an authority of one's own; undefined for the public ones. @throws KithError `FILE_MISSING`. */
export async function readRoot(config: Config): Promise<string | undefined> {
  const file = config['acme.ca_file']
  return file === '' ? undefined : await readText(file)
}

async function readText(path: string, { secret = false }: { readonly secret?: boolean } = {}): Promise<string> {
  const found = await readNamedFile(path, MAX_FILE_BYTES).catch((cause: unknown) => {
    throw new KithError('FILE_MISSING', `${path} cannot be read.`, { details: { path }, cause, next: `ls -l ${path}` })
  })
  if (found.kind !== 'file') throw new KithError('CERTIFICATE_INVALID', `${path} is no file with a certificate or a key.`, { details: { path } })
  if (secret && process.platform !== 'win32' && (found.mode & OTHERS) !== 0) {
    throw new KithError('HOME_UNSAFE', `${path} holds a private key, and others have rights to it.`, { details: { path }, next: `chmod 600 ${path}` })
  }
  return found.bytes.toString('latin1')
}
