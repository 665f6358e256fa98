import type { CertificateStatus } from '../../services/certificates.ts'
import type { Json, Nothing } from '../route.ts'

export interface CertificatesApi {
  'GET /v1/certificate': Json<Nothing, { readonly certificate: CertificateStatus | null }>
  'POST /v1/certificate/renew': Json<Nothing, { readonly certificate: CertificateStatus }>
}
