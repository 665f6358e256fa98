import type { CertificateStatus } from '../../../daemon/services/certificates.ts'
import { localTime } from '../../format.ts'
import type { CommandHandler } from '../../spec.ts'
import { type Palette, table } from '../../style.ts'

const SOURCES: Readonly<Record<CertificateStatus['source'], string>> = {
  file: 'from certificate.file',
  acme: 'by ACME',
  'self-signed': 'self-signed, until the authority has issued one',
}

export const show: CommandHandler = async ({ daemon, output, command }) => {
  const result = await (await daemon()).call('GET /v1/certificate', {})
  const { certificate } = result
  output.result(
    result,
    (palette, columns) =>
      certificate === null
        ? palette.quiet(`none in use; when acme.names or certificate.file is set, this says why: ${command('kith doctor')}`)
        : table(rows(certificate, palette), { columns, spare: [1] }),
    certificate?.expires_at,
  )
  return undefined
}

export const renew: CommandHandler = async ({ daemon, output }) => {
  const result = await (await daemon()).call('POST /v1/certificate/renew', {})
  output.result(result, (palette, columns) => table(rows(result.certificate, palette), { columns, spare: [1] }), result.certificate.expires_at)
  return undefined
}

function rows({ source, names, expires_at, renews_at }: CertificateStatus, palette: Palette): Parameters<typeof table>[0] {
  const label = (text: string): { text: string; style: Palette['quiet'] } => ({ text, style: palette.quiet })
  return [
    [label('names'), names.join(', ')],
    [label('source'), SOURCES[source]],
    [label('expires'), localTime(expires_at)],
    ...(renews_at === null ? [] : [[label('renews'), localTime(renews_at)]]),
  ]
}
