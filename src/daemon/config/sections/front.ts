import { z } from 'zod'
import { acmeNamesSchema, contactSchema, directorySchema, hostPortSchema, profileSchema } from '../acme.ts'
import { frontListenSchema, serverNameSchema } from '../front.ts'
import { type Section, setting } from '../setting.ts'
import { flag, whole, wholePathOrNone } from '../values.ts'

/** The port that looks like a website, and its certificate. */
export interface FrontSettings {
  readonly 'front.listen': string
  readonly 'front.site': string
  readonly 'front.server': string
  readonly 'front.ssh': boolean
  readonly 'front.max_per_source': number
  readonly 'certificate.file': string
  readonly 'certificate.key_file': string
  readonly 'acme.names': readonly string[]
  readonly 'acme.agree': boolean
  readonly 'acme.contact': string
  readonly 'acme.directory': string
  readonly 'acme.ca_file': string
  readonly 'acme.challenge': 'tls-alpn-01' | 'http-01'
  readonly 'acme.http_listen': string
  readonly 'acme.profile': string
  readonly 'acme.account_key': 'vault' | 'file'
}

export const FRONT: Section<FrontSettings> = {
  'front.listen': setting({
    schema: frontListenSchema,
    fallback: '',
    dynamic: false,
    about:
      'Where this node looks like a website: ADDRESS:PORT such as "0.0.0.0:443". Links share the port when listen has tls:// or wss:// there. Empty: nowhere.',
  }),
  'front.site': setting({
    schema: wholePathOrNone('folder'),
    fallback: '',
    dynamic: false,
    about: 'Folder of the pages that everybody gets there. Empty: one plain page.',
  }),
  'front.server': setting({
    schema: serverNameSchema,
    fallback: 'nginx/1.22.1',
    dynamic: false,
    about: 'What the site calls itself, in the header Server and below the pages of errors.',
  }),
  'front.ssh': setting({
    schema: flag,
    fallback: false,
    dynamic: false,
    about: 'Whether SSH inside TLS is answered there, to everybody who begins with its banner. At the keyed path it always is, when SSH is served.',
  }),
  'front.max_per_source': setting({
    schema: whole(1, 10_000),
    fallback: 128,
    dynamic: false,
    about: 'Connections that one address, or one /64 of IPv6, may have there at once.',
  }),
  'certificate.file': setting({
    schema: wholePathOrNone('file'),
    fallback: '',
    dynamic: true,
    about: 'Certificate chain (PEM) that the front door shows browsers; read again at kith config reload. Empty: none, or one by ACME.',
  }),
  'certificate.key_file': setting({
    schema: wholePathOrNone('file'),
    fallback: '',
    dynamic: true,
    about: 'Its private key (PEM, readable by its owner only).',
  }),
  'acme.names': setting({
    schema: acmeNamesSchema,
    fallback: [],
    dynamic: true,
    about: 'Host names and public addresses of this node for which an authority is asked for a certificate. Empty: none is asked.',
  }),
  'acme.agree': setting({
    schema: flag,
    fallback: false,
    dynamic: true,
    about: 'That you agree to the terms of service of the authority; it is asked for nothing without.',
  }),
  'acme.contact': setting({
    schema: contactSchema,
    fallback: '',
    dynamic: true,
    about: 'E-mail address that the authority may write to.',
  }),
  'acme.directory': setting({
    schema: directorySchema,
    fallback: 'letsencrypt',
    dynamic: true,
    about: 'The authority: letsencrypt, letsencrypt-staging (for trying: browsers do not believe it), or the https URL of an ACME directory.',
  }),
  'acme.ca_file': setting({
    schema: wholePathOrNone('file'),
    fallback: '',
    dynamic: true,
    about: 'Root certificate (PEM) of an authority of your own; empty: the public ones.',
  }),
  'acme.challenge': setting({
    schema: z.enum(['tls-alpn-01', 'http-01'], 'expected tls-alpn-01 or http-01'),
    fallback: 'tls-alpn-01',
    dynamic: true,
    about: 'How the authority finds out that the names are this node: at the front door, which must be port 443 from outside, or by HTTP on port 80.',
  }),
  'acme.http_listen': setting({
    schema: hostPortSchema,
    fallback: '0.0.0.0:80',
    dynamic: true,
    about: 'Where requests for port 80 arrive, for http-01. Open only while the authority asks.',
  }),
  'acme.profile': setting({
    schema: profileSchema,
    fallback: '',
    dynamic: true,
    about: 'Kind of certificate, by the authority’s name for it. Empty: its default, for addresses the short-lived one.',
  }),
  'acme.account_key': setting({
    schema: z.enum(['vault', 'file'], 'expected vault or file'),
    fallback: 'vault',
    dynamic: true,
    about: 'Where the key of the account is: sealed by the vault, which must be unlocked to renew; or in a file of the home, for nodes nobody attends to.',
  }),
}
