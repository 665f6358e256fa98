import { isIP } from 'node:net'
import { z } from 'zod'
import { isKithError } from '../../core/errors.ts'
import { parseIdentifier } from '../../site/acme/identifiers.ts'

/** Let's Encrypt takes this many in one certificate. */
const MAX_NAMES = 100

export const acmeNamesSchema: z.ZodType<readonly string[]> = z
  .array(z.string('expected a host name or an address').superRefine(checkName), 'expected a list of names such as ["node.example.org"]')
  .max(MAX_NAMES)
  .readonly()
  .refine((names) => new Set(names.map((name) => name.toLowerCase())).size === names.length, 'a name stands there twice')

function checkName(text: string, context: z.RefinementCtx): void {
  try {
    parseIdentifier(text)
  } catch (error) {
    context.addIssue({ code: 'custom', message: isKithError(error) ? error.message.replace(/\.$/, '') : 'expected a host name or an address' })
  }
}

export const contactSchema: z.ZodType<string> = z
  .string('expected an e-mail address')
  .max(254)
  .refine((text) => text === '' || /^[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+\.[A-Za-z0-9-]+$/.test(text), 'expected an e-mail address such as "owner@example.org"')

/** The directories of Let's Encrypt by the names that settings have for them. */
export const DIRECTORIES: Readonly<Record<string, string>> = {
  letsencrypt: 'https://acme-v02.api.letsencrypt.org/directory',
  'letsencrypt-staging': 'https://acme-staging-v02.api.letsencrypt.org/directory',
}

export const directorySchema: z.ZodType<string> = z
  .string('expected letsencrypt, letsencrypt-staging or an https URL')
  .max(2_048)
  .refine(
    (text) => Object.hasOwn(DIRECTORIES, text) || (URL.canParse(text) && text.startsWith('https://') && !/[@\s]/.test(text)),
    'expected letsencrypt, letsencrypt-staging or an https URL',
  )

export const hostPortSchema: z.ZodType<string> = z.string('expected ADDRESS:PORT').refine((text) => {
  const place = splitHostPort(text)
  return isIP(place.host) !== 0 && place.port <= 65_535
}, 'expected ADDRESS:PORT such as "0.0.0.0:80" or "[::]:80"')

/** `ADDRESS:PORT`, IPv6 in brackets; the port is not a number when it is none. */
export function splitHostPort(text: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]{2,45})\]|([0-9.]{7,15})):(\d{1,5})$/.exec(text)
  return { host: match?.[1] ?? match?.[2] ?? '', port: match === null ? Number.NaN : Number(match[3]) }
}

export const profileSchema: z.ZodType<string> = z
  .string('expected the name of a profile')
  .regex(/^[A-Za-z0-9_.-]{0,64}$/, 'expected the name of a profile such as "shortlived"')
