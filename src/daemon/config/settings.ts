import { isIP } from 'node:net'
import { isAbsolute } from 'node:path'
import { z } from 'zod'
import type { ApiKeyRecord } from '../../access/sources.ts'
import { MAILBOX_LIMITS } from '../../mesh/mailbox/quotas.ts'
import { formatRule, type RuleText } from '../../mesh/policy-rules.ts'
import { DEFAULT_SSH_LIMITS } from '../../ssh/limits.ts'
import type { ConfiguredCredential } from '../../vault/credentials/config.ts'
import { credentialsSchema } from '../credentials/config.ts'
import { type ConfiguredOpenApi, type ConfiguredTools, loopbackSchema, openapiSchema, socketSchema, toolsSchema } from '../gateway/config.ts'
import { type SftpFolder, sftpSchema } from '../ssh/config.ts'
import { apiKeysSchema, filesSchema, grantsSchema, type NamedGrant, scopesSchema } from './access.ts'
import { acmeNamesSchema, contactSchema, directorySchema, hostPortSchema, profileSchema } from './acme.ts'
import { formatDuration, parseDuration } from './duration.ts'
import { forwardsSchema, type NamedForward } from './forwards.ts'
import { folderSchema, frontListenSchema, serverNameSchema } from './front.ts'
import { LIMIT_ROWS, type LimitPath, type LimitValues } from './limits.ts'
import { PRIVATE_NETWORKS, proxiesSchema, withoutCredentials } from './proxies.ts'
import { rulesSchema } from './rules.ts'

/**
 * Every setting of the daemon, one row each. The path is its name everywhere: in `config.toml` (dots are tables), in the environment
 * (`KITH_` + upper case, dots as `_`), in errors, in `kith config show` and in the documentation.
 */
export interface Setting<T> {
  readonly schema: z.ZodType<T>
  readonly fallback: T
  /** Dynamic settings take effect at `kith config reload`; the others at the next start. */
  readonly dynamic: boolean
  readonly about: string
  /** The spelling for people, as it would stand in the file. */
  readonly show: (value: T) => string
  /** The value as programs are told it, where it is not told whole. */
  readonly tell?: (value: T) => unknown
}

interface Row<T> {
  schema: z.ZodType<T>
  fallback: T
  dynamic: boolean
  about: string
  show?: (value: T) => string
  tell?: (value: T) => unknown
}

function setting<T>(row: Row<T>): Setting<T> {
  return { show: (value) => JSON.stringify(value), ...row }
}

const SCHEMES = ['tcp', 'quic', 'udx', 'tls', 'wss', 'relay', 'memory'] as const

/** Kinds of paths this version has a name for; which of them work here is said by `kith doctor`. */
const scheme: z.ZodType<string> = z.enum(SCHEMES, `expected schemes out of ${SCHEMES.join(', ')}`)

const duration = (min: number, max: number): z.ZodType<number> =>
  z
    .string('expected a duration such as "10s"')
    .transform((text, context) => {
      const ms = parseDuration(text)
      if (ms !== undefined) return ms
      context.addIssue({ code: 'custom', message: 'expected a duration such as "10s" or "5m"' })
      return z.NEVER
    })
    .refine((ms) => ms >= min && ms <= max, `expected a duration from ${formatDuration(min)} to ${formatDuration(max)}`)

const whole = (min: number, max: number): z.ZodType<number> => {
  const message = `expected a whole number from ${min} to ${max}`
  return z.int(message).min(min, message).max(max, message)
}

const flag: z.ZodType<boolean> = z.boolean('expected true or false')

/** An address and the length of its prefix, as it is written everywhere. */
const network: z.ZodType<string> = z.string('expected a network such as "192.168.1.0/24"').refine((text) => {
  const match = /^([0-9a-fA-F.:]{2,45})\/(\d{1,3})$/.exec(text)
  const family = isIP(match?.[1] ?? '')
  return family !== 0 && Number(match?.[2]) <= (family === 6 ? 128 : 32)
}, 'expected a network such as "192.168.1.0/24"')

/** A URL of a transport. Whether the scheme can be used on this machine is said when listening. */
export const listenUrl: z.ZodType<string> = z
  .string('expected an address such as "tcp://0.0.0.0:4433"')
  .max(300)
  .regex(/^[a-z][a-z0-9+.-]{0,15}:\/\/[^\s/@?#]+:\d{1,5}$/, 'expected an address such as "tcp://0.0.0.0:4433"')
  .refine((url) => Number(url.slice(url.lastIndexOf(':') + 1)) <= 65_535, 'a port is at most 65535')

/** Nothing, or the whole path of a file. */
const path: z.ZodType<string> = z
  .string('expected the whole path of a file')
  .max(4_096)
  .refine((text) => text === '' || (isAbsolute(text) && !text.includes('\0')), 'expected the whole path of a file')

/** A share of one, as trust is written everywhere. */
const fraction: z.ZodType<number> = z.number('expected a number from 0 to 1').min(0, 'expected a number from 0 to 1').max(1, 'expected a number from 0 to 1')

/** All settings by their path, each with the type of its value. */
export interface Config extends LimitValues {
  readonly listen: readonly string[]
  readonly 'link.prefer': readonly string[]
  readonly 'link.require_pq': boolean
  readonly 'link.proxy': readonly string[]
  readonly 'link.proxy_direct': readonly string[]
  readonly 'discovery.mdns': boolean
  readonly 'discovery.home_networks': readonly string[]
  readonly 'files.quota_bytes': number
  readonly 'trust.min_threshold': number
  readonly 'gossip.max_topics': number
  readonly 'mail.inbox_messages': number
  readonly 'mail.inbox_bytes': number
  readonly 'mail.kept_messages': number
  readonly 'mail.kept_bytes': number
  readonly 'hardware.module': string
  readonly 'hardware.pin_file': string
  readonly forward: readonly NamedForward[]
  readonly 'tunnel.outbound': readonly string[]
  readonly 'tunnel.idle': number
  readonly 'tunnel.connect': number
  readonly 'shutdown.drain': number
  readonly 'identity.rotate_after_days': number
  readonly 'identity.rotate_unattended': boolean
  readonly 'identity.link_key_days': number
  readonly 'backup.keep': number
  readonly 'vault.idle_lock_s': number
  readonly 'policy.rules': readonly RuleText[]
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
  readonly 'front.listen': string
  readonly 'front.site': string
  readonly 'front.server': string
  readonly 'front.ssh': boolean
  readonly 'front.max_per_source': number
  readonly 'link.site_ca_file': string
  readonly 'gateway.listen': string
  readonly 'gateway.hosts': readonly string[]
  readonly 'gateway.max_body_bytes': number
  readonly 'gateway.raw_listen': string
  readonly 'gateway.raw_socket': string
  readonly openapi: readonly ConfiguredOpenApi[]
  readonly mcp: readonly ConfiguredTools[]
  readonly 'access.authorized_keys': readonly string[]
  readonly 'access.revocations': readonly string[]
  readonly 'access.ssh_scopes': readonly string[]
  readonly 'ssh.listen': string
  readonly 'ssh.bind_public': boolean
  readonly 'ssh.host_certificate': string
  readonly 'ssh.sftp': readonly SftpFolder[]
  readonly 'ssh.max_connections': number
  readonly 'ssh.max_connections_per_address': number
  readonly 'ssh.max_attempts': number
  readonly 'ssh.max_failures_per_address': number
  readonly 'access.api_keys': readonly ApiKeyRecord[]
  readonly 'access.grants': readonly NamedGrant[]
  readonly credentials: readonly ConfiguredCredential[]
  readonly 'log.level': 'debug' | 'info' | 'warn' | 'error'
  readonly 'log.max_bytes': number
  readonly 'log.keep': number
}

export type SettingPath = keyof Config

export const SETTINGS: { readonly [P in SettingPath]: Setting<Config[P]> } = {
  listen: setting({
    schema: z.array(listenUrl, 'expected a list of addresses such as ["tcp://0.0.0.0:4433"]').max(16).readonly(),
    fallback: [],
    dynamic: false,
    about: 'Addresses to listen on. Empty: the peer port on all interfaces, 4433 or the next free one.',
  }),
  'link.prefer': setting({
    schema: z.array(scheme, 'expected a list of schemes').max(SCHEMES.length).readonly(),
    fallback: ['tcp', 'quic', 'udx', 'tls', 'wss', 'relay'],
    dynamic: true,
    about: 'Order in which kinds of paths are preferred.',
  }),
  'link.require_pq': setting({
    schema: flag,
    fallback: false,
    dynamic: true,
    about: 'Refuse links whose key exchange is not post-quantum (excludes quic).',
  }),
  'link.proxy': setting({
    schema: proxiesSchema,
    fallback: [],
    dynamic: true,
    about: 'Proxies to dial through, in their order: socks5://[USER:PASSWORD@]HOST[:PORT] or http://...; kinds of paths over UDP are not dialled then.',
    show: (proxies) => JSON.stringify(withoutCredentials(proxies)),
    tell: withoutCredentials,
  }),
  'link.proxy_direct': setting({
    schema: z.array(network, 'expected a list of networks such as ["192.168.0.0/16"]').max(64).readonly(),
    fallback: PRIVATE_NETWORKS,
    dynamic: true,
    about: 'Networks whose addresses are dialled past the proxies: by default loopback and private ones, which mean other machines at a proxy.',
  }),
  'discovery.mdns': setting({
    schema: flag,
    fallback: true,
    dynamic: false,
    about: 'Announce this node on the local network and find known peers there.',
  }),
  'discovery.home_networks': setting({
    schema: z.array(network, 'expected a list of networks such as ["192.168.1.0/24"]').max(64).readonly(),
    fallback: [],
    dynamic: false,
    about: 'Networks where the DID itself is announced; elsewhere a daily changing digest of it is.',
  }),
  'files.quota_bytes': setting({
    schema: whole(0, 2 ** 50),
    fallback: 10 * 2 ** 30,
    dynamic: true,
    about: 'What received files, finished and unfinished, may take together; 0 accepts none.',
  }),
  'trust.min_threshold': setting({
    schema: fraction,
    fallback: 0,
    dynamic: true,
    about: 'Least standing, 0 to 1, of a peer that may link; 0 admits strangers, 0.1 only known peers.',
  }),
  'gossip.max_topics': setting({
    schema: whole(8, 100_000),
    fallback: 1_000,
    dynamic: false,
    about: 'Topics that may be made on this node.',
  }),
  'mail.inbox_messages': setting({
    schema: whole(0, 1_000_000),
    fallback: MAILBOX_LIMITS.inboxTotal.messages,
    dynamic: false,
    about: 'Messages that the inbox holds; beyond that senders keep theirs and try again.',
  }),
  'mail.inbox_bytes': setting({
    schema: whole(0, 2 ** 40),
    fallback: MAILBOX_LIMITS.inboxTotal.bytes,
    dynamic: false,
    about: 'What the messages of the inbox may take together.',
  }),
  'mail.kept_messages': setting({
    schema: whole(0, 1_000_000),
    fallback: MAILBOX_LIMITS.total.messages,
    dynamic: false,
    about: 'Sealed messages kept here for peers that this node agreed to host.',
  }),
  'mail.kept_bytes': setting({
    schema: whole(0, 2 ** 40),
    fallback: MAILBOX_LIMITS.total.bytes,
    dynamic: false,
    about: 'What those may take together.',
  }),
  'hardware.module': setting({
    schema: path,
    fallback: '',
    dynamic: false,
    about: 'PKCS#11 module by which the token with the identity’s key is reached; empty: the one in the key’s address.',
  }),
  'hardware.pin_file': setting({
    schema: path,
    fallback: '',
    dynamic: false,
    about: 'File (0600) with the PIN of that token; empty: ICN_TOKEN_PIN, the credential kith.pin, or kith id hardware unlock.',
  }),
  forward: setting({
    schema: forwardsSchema,
    fallback: [],
    dynamic: true,
    about: 'Named forwards, a table each: [[forward]] with name, peer, kind and where they begin and end; kith forward --save writes them.',
    show: (rows) => JSON.stringify(rows.map(({ name }) => name)),
  }),
  'tunnel.outbound': setting({
    schema: proxiesSchema,
    fallback: [],
    dynamic: true,
    about: 'Proxies through which connections of peers leave here, in their order; loopback, sockets and UDP never go through them.',
    show: (proxies) => JSON.stringify(withoutCredentials(proxies)),
    tell: withoutCredentials,
  }),
  'tunnel.idle': setting({
    schema: duration(0, 604_800_000),
    fallback: 0,
    dynamic: true,
    about: 'How long a forwarded connection may carry nothing before it is reset; 0 for ever.',
    show: (ms) => JSON.stringify(formatDuration(ms)),
  }),
  'tunnel.connect': setting({
    schema: duration(1_000, 120_000),
    fallback: 10_000,
    dynamic: true,
    about: 'How long the target of a forward may take to answer.',
    show: (ms) => JSON.stringify(formatDuration(ms)),
  }),
  'shutdown.drain': setting({
    schema: duration(0, 600_000),
    fallback: 5_000,
    dynamic: true,
    about: 'How long streams in use may go on when the node stops.',
    show: (ms) => JSON.stringify(formatDuration(ms)),
  }),
  'identity.rotate_after_days': setting({
    schema: whole(0, 3_650),
    fallback: 365,
    dynamic: true,
    about: 'Age of the identity’s keys, in days, from which status asks to replace them (kith id rotate); 0 never asks.',
  }),
  'identity.rotate_unattended': setting({
    schema: flag,
    fallback: false,
    dynamic: true,
    about: 'Replace the identity’s keys at that age without asking, where the node can open the identity by itself.',
  }),
  'identity.link_key_days': setting({
    schema: whole(0, 3_650),
    fallback: 30,
    dynamic: true,
    about: 'Age of this machine’s link key, in days, from which it is replaced at a quiet moment, where the node can open the identity by itself; 0 never.',
  }),
  'backup.keep': setting({
    schema: whole(1, 1_000),
    fallback: 7,
    dynamic: true,
    about: 'How many snapshots are kept; a new one takes the place of the oldest.',
  }),
  'vault.idle_lock_s': setting({
    schema: whole(0, 2_592_000),
    fallback: 3_600,
    dynamic: true,
    about: 'Seconds without use after which a vault locks by itself; 0 never does.',
  }),
  'policy.rules': setting({
    schema: rulesSchema,
    fallback: [],
    dynamic: true,
    about: 'Rules behind those of kith allow and kith deny, as these print them: "allow scope:web forward db.lan:5432 --via ssh".',
    show: (rules) => JSON.stringify(rules.map(formatRule)),
  }),
  'front.listen': setting({
    schema: frontListenSchema,
    fallback: '',
    dynamic: false,
    about:
      'Where this node looks like a website: ADDRESS:PORT such as "0.0.0.0:443". Links share the port when listen has tls:// or wss:// there. Empty: nowhere.',
  }),
  'front.site': setting({
    schema: folderSchema,
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
  'link.site_ca_file': setting({
    schema: path,
    fallback: '',
    dynamic: true,
    about: 'Certificates (PEM) of the authorities that vouch for the sites of wss:// addresses; empty: the public ones.',
  }),
  'certificate.file': setting({
    schema: path,
    fallback: '',
    dynamic: true,
    about: 'Certificate chain (PEM) that the front door shows browsers; read again at kith config reload. Empty: none, or one by ACME.',
  }),
  'certificate.key_file': setting({
    schema: path,
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
    schema: path,
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
  'gateway.listen': setting({
    schema: loopbackSchema,
    fallback: '',
    dynamic: false,
    about: 'Address of this machine where HTTP answers calls: /v1/SERVICE/OP, /v1/schema (OpenAPI), /mcp. Empty: none.',
  }),
  'gateway.hosts': setting({
    schema: z
      .array(z.string().regex(/^[a-z0-9.-]{1,253}$/, 'expected host names'), 'expected a list of host names')
      .max(16)
      .readonly(),
    fallback: [],
    dynamic: false,
    about: 'Names besides localhost under which it answers, such as that of a proxy in front of it.',
  }),
  'gateway.max_body_bytes': setting({
    schema: whole(1_024, 64 * 2 ** 20),
    fallback: 10 * 2 ** 20,
    dynamic: false,
    about: 'The largest body of a request that it takes.',
  }),
  'gateway.raw_listen': setting({
    schema: loopbackSchema,
    fallback: '',
    dynamic: false,
    about: 'Address of this machine where calls are answered by raw framing (4 bytes of length, JSON), a token first. Empty: none.',
  }),
  'gateway.raw_socket': setting({
    schema: socketSchema,
    fallback: '',
    dynamic: false,
    about: 'Path of a socket for the same, which only this user can open. Empty: none.',
  }),
  openapi: setting({
    schema: openapiSchema,
    fallback: [],
    dynamic: false,
    about: 'Services of others as operations, a table each: [openapi.NAME] with file (OpenAPI 3.0 or 3.1, JSON) and url, credential, access.',
    show: (entries) => JSON.stringify(entries.map(({ name }) => name)),
  }),
  mcp: setting({
    schema: toolsSchema,
    fallback: [],
    dynamic: false,
    about: 'Tools of others as operations, a table each: [mcp.NAME] with command, args, env or url, credential, and access.',
    show: (entries) => JSON.stringify(entries.map(({ name }) => name)),
  }),
  'access.authorized_keys': setting({
    schema: filesSchema,
    fallback: [],
    dynamic: true,
    about: 'Files of keys that log in and of authorities that sign certificates, as OpenSSH reads them. Read at start and by kith config reload.',
  }),
  'access.revocations': setting({
    schema: filesSchema,
    fallback: [],
    dynamic: true,
    about: 'Lists of what does not count any more: as ssh-keygen -k makes them, or text.',
  }),
  'ssh.listen': setting({
    schema: frontListenSchema,
    fallback: '',
    dynamic: false,
    about: 'Where OpenSSH clients log in: ADDRESS:PORT such as "127.0.0.1:2222". Empty: nowhere.',
  }),
  'ssh.bind_public': setting({
    schema: flag,
    fallback: false,
    dynamic: false,
    about: 'Whether ssh.listen, and ports that clients ask for with -R, may be beyond loopback.',
  }),
  'ssh.host_certificate': setting({
    schema: path,
    fallback: '',
    dynamic: false,
    about: 'Certificate of the SSH host key, as ssh-keygen -s CA -h makes it; empty: none.',
  }),
  'ssh.sftp': setting({
    schema: sftpSchema,
    fallback: [],
    dynamic: true,
    about: 'Folders for SFTP, a table each: [[ssh.sftp]] with name, path, and who may read and write.',
    show: (folders) => JSON.stringify(folders.map(({ name }) => name)),
  }),
  'ssh.max_connections': setting({
    schema: whole(0, 100_000),
    fallback: DEFAULT_SSH_LIMITS.connections,
    dynamic: true,
    about: 'Connections at the SSH door at once; 0 has no limit.',
  }),
  'ssh.max_connections_per_address': setting({
    schema: whole(0, 100_000),
    fallback: DEFAULT_SSH_LIMITS.connectionsPerAddress,
    dynamic: true,
    about: 'Of one address, or one /64 of IPv6; 0 has no limit.',
  }),
  'ssh.max_attempts': setting({
    schema: whole(0, 100),
    fallback: DEFAULT_SSH_LIMITS.attempts,
    dynamic: true,
    about: 'Refused keys after which an SSH connection ends; 0 has no limit.',
  }),
  'ssh.max_failures_per_address': setting({
    schema: whole(0, 100_000),
    fallback: DEFAULT_SSH_LIMITS.failuresPerAddress,
    dynamic: true,
    about: 'Refused keys of one address within ten minutes, after which its connections are not taken; 0 has no limit.',
  }),
  'access.ssh_scopes': setting({
    schema: scopesSchema,
    fallback: [],
    dynamic: true,
    about: 'Scopes of everybody who comes in by an SSH key, certificate or token.',
  }),
  'access.api_keys': setting({
    schema: apiKeysSchema,
    fallback: [],
    dynamic: true,
    about: 'API keys by name, a table each: [access.api_keys.NAME] with hash, scopes, resources, expires. Never a key itself.',
    show: (keys) => JSON.stringify(keys.map(({ name }) => name)),
  }),
  'access.grants': setting({
    schema: grantsSchema,
    fallback: [],
    dynamic: true,
    about: 'Scopes of principals, a table each: [access.grants."ssh:SHA256:..."] with scopes, resources, did.',
    show: (grants) => JSON.stringify(grants.map(({ principal }) => principal)),
  }),
  credentials: setting({
    schema: credentialsSchema,
    fallback: [],
    dynamic: true,
    about: 'Credentials of services, a table each: [credentials.NAME] with type and secret_file. Never a secret itself.',
    show: (entries) => JSON.stringify(entries.map(({ key }) => key.service)),
  }),
  'log.level': setting({
    schema: z.enum(['debug', 'info', 'warn', 'error'], 'expected debug, info, warn or error'),
    fallback: 'info',
    dynamic: true,
    about: 'Least important log lines that are kept.',
  }),
  'log.max_bytes': setting({
    schema: whole(65_536, 1_073_741_824),
    fallback: 5_242_880,
    dynamic: false,
    about: 'Size at which the log file is set aside for a new one.',
  }),
  'log.keep': setting({
    schema: whole(0, 100),
    fallback: 3,
    dynamic: false,
    about: 'How many set-aside log files are kept.',
  }),
  ...limitSettings(),
}

function limitSettings(): { readonly [P in LimitPath]: Setting<number> } {
  const rows = LIMIT_ROWS.map(({ path, fallback, range, about }) => [path, setting({ schema: whole(...range), fallback, dynamic: true, about })] as const)
  return Object.fromEntries(rows) as { readonly [P in LimitPath]: Setting<number> }
}

export const SETTING_PATHS: readonly SettingPath[] = Object.keys(SETTINGS) as SettingPath[]

export function isSettingPath(path: string): path is SettingPath {
  return Object.hasOwn(SETTINGS, path)
}

/** `link.require_pq` is `KITH_LINK_REQUIRE_PQ` in the environment. */
export function environmentName(path: SettingPath): string {
  return `KITH_${path.toUpperCase().replaceAll('.', '_')}`
}

/** The row of a path with its type forgotten: for code that treats all settings alike. */
export function settingRow(path: SettingPath): Setting<unknown> {
  return SETTINGS[path] as unknown as Setting<unknown>
}
