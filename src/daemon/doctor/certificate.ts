import { bad, type Check, fine } from './types.ts'

const DAY_MS = 86_400_000

/** The certificate of the front door: whom it is for and how long it is good. What is wrong with it the daemon says itself. */
export const checkCertificate: Check = async ({ daemon }) => {
  const certificate = daemon?.certificate ?? null
  const trouble = daemon?.degraded.find(({ service }) => service === 'certificates')
  if (certificate === null) {
    if (trouble !== undefined) return bad('certificate', `none: ${trouble.message}`, trouble.next ?? 'kith config reload')
    return fine('certificate', daemon === undefined ? 'not looked at: the daemon does not run' : 'none is configured')
  }
  const left = Math.floor((Date.parse(certificate.expires_at) - Date.now()) / DAY_MS)
  const about = `${certificate.names.join(', ')} (${certificate.source}), ${left < 0 ? 'has run out' : `good for ${left} days`}`
  return trouble === undefined ? fine('certificate', about) : bad('certificate', `${about}: ${trouble.message}`, trouble.next ?? 'kith certificate show')
}
